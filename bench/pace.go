package bench

import "time"

// pace tells how long a run will still take, from how long its steps took so
// far. Steps of a kind take alike.
type pace struct {
	began time.Time
	kinds map[string]*kind
}

type kind struct {
	left  int
	done  int
	spent time.Duration
	guess time.Duration // of one step, until one was done; 0 is no guess
}

func newPace() *pace { return &pace{began: time.Now(), kinds: map[string]*kind{}} }

// expect adds n steps of a kind.
func (p *pace) expect(name string, n int, guess time.Duration) {
	if p.kinds[name] == nil {
		p.kinds[name] = &kind{guess: guess}
	}
	p.kinds[name].left += n
}

// passed takes a step off, which took so long.
func (p *pace) passed(name string, took time.Duration) {
	k := p.kinds[name]
	k.left = max(0, k.left-1) // a round more than planned makes up for a void one
	k.done++
	k.spent += took
}

// progress returns the share that is done and the time left, at most; both 0
// as long as some kind of step is wholly unknown. A budget that is longer than
// the steps may be used up.
func (p *pace) progress(doing string, budget time.Duration) Progress {
	var left time.Duration
	for _, k := range p.kinds {
		each := k.guess
		if k.done > 0 {
			each = k.spent / time.Duration(k.done)
		}
		if each == 0 && k.left > 0 {
			return Progress{Doing: doing}
		}
		left += each * time.Duration(k.left)
	}
	spent := time.Since(p.began)
	left = max(left, budget-spent)
	return Progress{Doing: doing, Done: spent.Seconds() / max(1e-9, (spent+left).Seconds()), Left: left}
}
