package capture

import "sync"

// A stack hands tasks to workers, the newest first: so a tree is walked depth
// first, few directories are open at once, and neighbours end up near each
// other in the packs.
type stack struct {
	mu    sync.Mutex
	more  sync.Cond
	tasks []func()
	busy  int // tasks taken and not finished
	over  bool
}

func newStack() *stack {
	s := new(stack)
	s.more.L = &s.mu
	return s
}

// push adds tasks so that the first of them is taken first.
func (s *stack) push(tasks ...func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := len(tasks) - 1; i >= 0; i-- {
		s.tasks = append(s.tasks, tasks[i])
	}
	s.more.Broadcast()
}

// stop makes all workers return after their present task.
func (s *stack) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	s.more.Broadcast()
}

// work runs tasks until there are none and none can appear any more.
func (s *stack) work() {
	for {
		task := s.take()
		if task == nil {
			return
		}
		task()
		s.finish()
	}
}

func (s *stack) take() func() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.tasks) == 0 && s.busy > 0 && !s.over {
		s.more.Wait()
	}
	if len(s.tasks) == 0 || s.over {
		return nil
	}
	last := len(s.tasks) - 1
	task := s.tasks[last]
	s.tasks[last] = nil
	s.tasks = s.tasks[:last]
	s.busy++
	return task
}

func (s *stack) finish() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.busy--; s.busy == 0 && len(s.tasks) == 0 {
		s.more.Broadcast()
	}
}
