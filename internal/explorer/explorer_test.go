package explorer

import (
	"strings"
	"testing"
	"time"
)

func TestConfigs(t *testing.T) {
	for _, cfg := range Configs() {
		t.Run(cfg.Name, func(t *testing.T) {
			start := time.Now()
			if cfg.Limit == 0 { cfg.Limit = 3000000 }
			r := Explore(cfg)
			t.Log(r, r.Complete, time.Since(start))
			if r.Broken != 0 {
				t.Fatalf("%v\n%s", r.Broken, strings.Join(r.Trace, "\n"))
			}
		})
	}
}
