package capture

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"coffer/snapshot"
)

func TestVanishedItem(t *testing.T) {
	r := newRig(t)
	r.write("a", "alpha")
	r.write("z", "zeta")
	r.opt.Readers = 1
	r.opt.Event = func(ev Event) {
		if strings.HasSuffix(ev.Path, "/a") {
			_ = os.Remove(filepath.Join(r.dir, "z"))
		}
	}
	rep := r.run()
	m := rep.Snapshot.Manifest
	if m.State != snapshot.WithErrors || m.Errors != 1 || !strings.HasSuffix(m.Warnings[0].Path, "/z") {
		t.Errorf("%+v", m)
	}
	if got := r.content(m); got["/top/a"] != "alpha" {
		t.Errorf("%v", got)
	}
}

func TestGrowingFile(t *testing.T) {
	r := newRig(t)
	big := strings.Repeat("0123456789abcdef", 1<<18)
	r.write("log", big)
	r.opt.Readers = 1
	r.opt.Event = func(ev Event) {
		if ev.Action == Progress {
			f, err := os.OpenFile(filepath.Join(r.dir, "log"), os.O_APPEND|os.O_WRONLY, 0)
			if err == nil {
				_, err = f.WriteString("more")
				err = errors.Join(err, f.Close())
			}
			if err != nil {
				t.Error(err)
			}
		}
	}
	m := r.run().Snapshot.Manifest
	if m.State != snapshot.WithErrors || !strings.Contains(m.Warnings[0].Text, "changed while it was read") {
		t.Errorf("%+v", m.Warnings)
	}
	if got := r.content(m)["/top/log"]; !strings.HasPrefix(got, big) {
		t.Errorf("%d bytes", len(got))
	}
}

func TestShrinkingFile(t *testing.T) {
	r := newRig(t)
	r.write("log", strings.Repeat("0123456789abcdef", 1<<18))
	r.opt.Readers = 1
	size := int64(4 << 20)
	r.opt.Event = func(ev Event) {
		if ev.Action == Progress {
			size -= 600 << 10
			if err := os.Truncate(filepath.Join(r.dir, "log"), max(size, 0)); err != nil {
				t.Error(err)
			}
		}
	}
	m := r.run().Snapshot.Manifest
	if m.State != snapshot.WithErrors {
		t.Errorf("%+v", m)
	}
	if got := r.content(m)["/top/log"]; !strings.HasPrefix(strings.Repeat("0123456789abcdef", 1<<18), got) {
		t.Errorf("%d bytes that were never in it", len(got))
	}
}
