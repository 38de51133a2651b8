package chunk

import (
	"bytes"
	"crypto/rand"
	"testing"
)

func TestDefaultParams(t *testing.T) {
	a, err := DefaultParams(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	b, _ := DefaultParams(rand.Reader)
	if a.Polynomial == b.Polynomial {
		t.Error("two repositories have the same polynomial")
	}
	if err := a.Validate(); err != nil {
		t.Error(err)
	}
	if _, err := DefaultParams(bytes.NewReader(nil)); err == nil {
		t.Error("no randomness, but a polynomial")
	}
}

func TestValidate(t *testing.T) {
	with := func(change func(*Params)) Params {
		p := testParams
		change(&p)
		return p
	}
	for name, p := range map[string]Params{
		"nothing set":           {},
		"polynomial zero":       with(func(p *Params) { p.Polynomial = 0 }),
		"polynomial reducible":  with(func(p *Params) { p.Polynomial = 1<<53 | 2 }),
		"polynomial too high":   with(func(p *Params) { p.Polynomial |= 1 << 60 }),
		"polynomial too low":    with(func(p *Params) { p.Polynomial = 0b111 }),
		"min too small":         with(func(p *Params) { p.Min = minLimit - 1 }),
		"min zero":              with(func(p *Params) { p.Min = 0 }),
		"max too large":         with(func(p *Params) { p.Max = maxLimit + 1 }),
		"max is min":            with(func(p *Params) { p.Max = p.Min }),
		"bits negative":         with(func(p *Params) { p.Bits = -1 }),
		"bits zero":             with(func(p *Params) { p.Bits = 0 }),
		"bits beyond max":       with(func(p *Params) { p.Bits = 23 }),
		"bits beyond the word":  with(func(p *Params) { p.Bits = 64 }),
		"bits beyond the limit": with(func(p *Params) { p.Bits, p.Max = 25, maxLimit }),
	} {
		if p.Validate() == nil {
			t.Errorf("%s: %+v is valid", name, p)
		}
		c := NewCutter(p, 2)
		if c.Cut(t.Context(), nil, nil) == nil || c.CutAt(t.Context(), nil, 1, nil) == nil {
			t.Errorf("%s: a Cutter cuts", name)
		}
	}
	if err := testParams.Validate(); err != nil {
		t.Error(err)
	}
}
