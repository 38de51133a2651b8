package main

import (
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

const (
	barInterval  = 150 * time.Millisecond
	lineInterval = 30 * time.Second // where nobody watches: rare enough for a log
)

// A progress shows how far a command has come: as a bar with rate and time left
// on a terminal, as a line now and then elsewhere. Its counters may be changed
// from many goroutines, and cost nothing but that: a goroutine of its own reads
// them. All methods may be called on nil, which shows nothing.
type progress struct {
	app     *app
	unit    string // of items: "files"; what ends in a colon, as "copied:", stands there without a number
	items   atomic.Int64
	bytes   atomic.Int64
	total   atomic.Int64 // bytes; 0 where nobody knows
	started time.Time

	bars  *mpb.Progress // nil: lines
	bar   *mpb.Bar
	moved time.Time // when the bar was moved last
	end   chan struct{}
	over  sync.WaitGroup
}

// startProgress begins to show progress, if the user wants to see any.
func (a *app) startProgress(unit string, total int64) *progress {
	if a.quiet || a.json || a.noProgress {
		return nil
	}
	now := a.now()
	p := &progress{app: a, unit: unit, started: now, moved: now, end: make(chan struct{})}
	p.total.Store(total)
	if a.terminal.err {
		p.makeBar(total > 0)
		p.every(barInterval, p.moveBar)
	} else {
		p.every(lineInterval, func() { a.errLine(p.line()) })
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.progress = p
	return p
}

// makeBar makes a bar, or just numbers where the total is not known.
func (p *progress) makeBar(known bool) {
	p.bars = mpb.New(mpb.WithOutput(p.app.stderr), mpb.WithAutoRefresh(), mpb.WithRefreshRate(barInterval))
	items := decor.Any(func(decor.Statistics) string { return p.itemCount() })
	speed := decor.EwmaSpeed(decor.SizeB1024(0), "% .1f", 30)
	if !known {
		p.bar = p.bars.New(0, mpb.NopStyle(), mpb.PrependDecorators(items,
			decor.CurrentKibiByte("  % .1f  "), speed))
		return
	}
	p.bar = p.bars.New(0, mpb.BarStyle(),
		mpb.PrependDecorators(items, decor.CountersKibiByte("  % .1f of % .1f")),
		mpb.AppendDecorators(speed, decor.Name("  "), decor.EwmaETA(decor.ET_STYLE_GO, 30), decor.Name(" left")))
}

func (p *progress) moveBar() {
	done, now := p.bytes.Load(), p.app.now()
	p.bar.SetTotal(max(p.total.Load(), done), false) // the total may be a guess
	p.bar.EwmaSetCurrent(done, now.Sub(p.moved))
	p.moved = now
}

// every calls fn at intervals until stop.
func (p *progress) every(interval time.Duration, fn func()) {
	p.over.Go(func() {
		tick := time.NewTicker(interval)
		defer tick.Stop()
		for {
			select {
			case <-p.end:
				return
			case <-tick.C:
				fn()
			}
		}
	})
}

func (p *progress) itemCount() string {
	if strings.HasSuffix(p.unit, ":") {
		return p.unit
	}
	return count(p.items.Load(), strings.TrimSuffix(p.unit, "s"), p.unit)
}

// line says in text what the bar shows.
func (p *progress) line() string {
	done, total := p.bytes.Load(), p.total.Load()
	text := strings.Replace(p.itemCount()+", "+size(done), ":,", ":", 1)
	if total > done {
		text += " of " + size(total)
	}
	seconds := p.app.now().Sub(p.started).Seconds()
	if done == 0 || seconds <= 0 {
		return text
	}
	rate := float64(done) / seconds
	text += ", " + size(int64(rate)) + "/s"
	if total > done {
		left := time.Duration(float64(total-done) / rate * float64(time.Second))
		text += ", " + left.Round(time.Second).String() + " left"
	}
	return text
}

func (p *progress) addItem() {
	if p != nil {
		p.items.Add(1)
	}
}

func (p *progress) addBytes(n int64) {
	if p != nil {
		p.bytes.Add(n)
	}
}

// set puts all counters to what a lower layer has counted.
func (p *progress) set(items, bytes, total int64) {
	if p != nil {
		p.items.Store(items)
		p.bytes.Store(bytes)
		p.total.Store(total)
	}
}

// setBytes puts the bytes to what a lower layer has counted.
func (p *progress) setBytes(bytes, total int64) {
	if p != nil {
		p.bytes.Store(bytes)
		p.total.Store(total)
	}
}

// above is where lines go that shall stand above the bar; nil without one.
func (p *progress) above() io.Writer {
	if p == nil || p.bars == nil {
		return nil
	}
	return p.bars
}

// stop takes the bar away.
func (p *progress) stop() {
	if p == nil {
		return
	}
	close(p.end)
	p.over.Wait()
	p.app.mu.Lock()
	p.app.progress = nil
	p.app.mu.Unlock()
	if p.bar != nil {
		p.bar.Abort(true)
		p.bars.Wait()
	}
}
