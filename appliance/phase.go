package appliance

import (
	"sync"
	"time"

	"sealbay/appliance/rest"
)

// phase is the node's state machine:
//
//	sealed ──key──▶ unlocking ──drives done──▶ open ◀──▶ degraded
//	                                            │  ▲
//	                                     rotate ▼  │ done
//	                                          rotating
//
// sealed: no master key at hand. degraded: the key is here, and a drive of
// ours is absent, locked or failed. Who does the work says so by busy; the
// rest follows from key and drives.
type phase struct {
	mu    sync.Mutex // guards all below
	state string
	since time.Time
	busy  string // rest.StateUnlocking, rest.StateRotating or empty
}

// during marks the node as unlocking or rotating until the function returned
// is called.
func (p *phase) during(state string) (done func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	before := p.busy
	p.busy = state
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.busy = before
	}
}

// update derives the state and returns it with the time since when it holds.
func (p *phase) update(haveKey, allOpen bool) (string, time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := rest.StateOpen
	switch {
	case p.busy != "":
		now = p.busy
	case !haveKey:
		now = rest.StateSealed
	case !allOpen:
		now = rest.StateDegraded
	}
	if now != p.state {
		p.state, p.since = now, time.Now().UTC()
	}
	return p.state, p.since
}
