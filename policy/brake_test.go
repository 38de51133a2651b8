package policy

import (
	"errors"
	"testing"
)

func TestBrake(t *testing.T) {
	four := `
		a1 2026-01-01 host=a
		a2 2026-01-02 host=a
		a3 2026-01-03 host=a
		a4 2026-01-04 host=a`
	tests := []struct {
		name  string
		items string
		last  int
		share float64
		want  string
	}{
		{"half is not over half", four, 2, Half, ""},
		{"over half", four, 1, Half,
			"would drop more than 50 % of a host's snapshots, which a person must confirm: 3 of 4 of host a"},
		{"another share", four, 3, 0.2,
			"would drop more than 20 % of a host's snapshots, which a person must confirm: 1 of 4 of host a"},
		{"any at all", four, 3, 0, "would drop more than 0 % of a host's snapshots, which a person must confirm: 1 of 4 of host a"},
		{"no brake", four, 1, 1, ""},
		{"nothing to drop", four, 4, 0, ""},
		{"one host among many", four + `
			b1 2026-01-01 host=b group=b
			b2 2026-01-02 host=b group=b
			c1 2026-01-01 host=c group=c
			c2 2026-01-02 host=c group=c
			c3 2026-01-03 host=c group=c`, 1, Half,
			"would drop more than 50 % of a host's snapshots, which a person must confirm: 3 of 4 of host a, 2 of 3 of host c"},
		{"all names of a host together", four + `
			b1 2026-01-01 host=a group=b name=b
			c1 2026-01-01 host=a group=c name=c`, 1, Half, ""},
		{"incomplete ones do not count to be dropped", `
			b1 2026-01-01 incomplete
			b2 2026-01-02 incomplete
			b3 2026-01-03 incomplete
			b4 2026-01-04`, 1, Half, ""},
		{"nor to be kept", four + `
			a5 2026-01-05 host=a incomplete
			a6 2026-01-06 host=a incomplete`, 1, Half,
			"would drop more than 50 % of a host's snapshots, which a person must confirm: 3 of 4 of host a"},
		{"forged dates do not count either", four + `
			a5 2126-01-05 host=a
			a6 2126-01-06 host=a`, 1, Half,
			"would drop more than 50 % of a host's snapshots, which a person must confirm: 3 of 4 of host a"},
		{"none", "", 1, Half, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			err := Brake(Apply(parse(t, test.items), Rules{Last: test.last}, far), test.share)
			if got := text(err); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
			if brake := (*BrakeError)(nil); err != nil && (!errors.As(err, &brake) || len(brake.Hosts) == 0) {
				t.Errorf("%T %v names no host", err, err)
			}
		})
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
