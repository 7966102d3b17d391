package uring

import (
	"errors"
	"slices"
	"testing"
	"time"

	"sealbay/blockcrypt/blockdev"
)

// What a drive has done while the queue looks is had without sleeping; what
// it has not, and what takes it long anyhow, is slept for.
func TestLooksBeforeSleeping(t *testing.T) {
	const never = 1 << 30
	reqs := requests(t)
	small, large, flush := reqs[1], *reqs[0], reqs[2]
	large.Buf = make([]byte, pollBytes+4096)
	for _, c := range []struct {
		name          string
		r             *blockdev.Request
		late          int
		look          time.Duration
		looks, sleeps bool
	}{
		{"done at once", small, 0, time.Minute, false, false},
		{"done while looking", small, 20, time.Minute, true, false},
		{"slow", small, never, 50 * time.Microsecond, true, true},
		{"much data", &large, 20, time.Minute, false, true},
		{"flush", flush, 20, time.Minute, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			var f *fake
			d := newFakeDevice(t, func(made *fake) { f = made; f.late = c.late })
			d.look = c.look.Nanoseconds()
			q := run(t, d, []*blockdev.Request{c.r})
			if c.r.Err != nil {
				t.Error(c.r.Err)
			}
			if (f.yields > 0) != c.looks || (f.sleeps > 0) != c.sleeps {
				t.Errorf("yielded %d times, slept %d times; want looks %v, sleeps %v", f.yields, f.sleeps, c.looks, c.sleeps)
			}
			if err := errors.Join(q.Close(), d.Close()); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestPatience(t *testing.T) {
	var p patience
	var looks []int
	wait := func(i int, found bool) {
		if p.looks() {
			looks = append(looks, i)
			p.learn(found)
		}
	}
	for i := range 16 {
		wait(i, false)
	}
	if want := []int{0, 2, 6, 14}; !slices.Equal(looks, want) {
		t.Errorf("a slow drive is looked at before waits %v, want %v", looks, want)
	}
	for i := range 10_000 {
		wait(i, false)
	}
	looks = nil
	for i := range 10 * (maxPause + 1) {
		wait(i, false)
	}
	if len(looks) != 10 {
		t.Errorf("in the long run a slow drive is looked at %d times in %d waits", len(looks), 10*(maxPause+1))
	}
	for i := range 2 * (maxPause + 1) {
		wait(i, true)
	}
	looks = nil
	for i := range 100 {
		wait(i, true)
	}
	if len(looks) != 100 {
		t.Errorf("a drive that has become fast is looked at before %d of 100 waits", len(looks))
	}
}
