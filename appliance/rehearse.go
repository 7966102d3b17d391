package appliance

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"sealbay/appliance/rest"
	"sealbay/blockcrypt"
	"sealbay/keyring"
)

// rehearseEvery is how often the node proves unasked that it would come back.
const rehearseEvery = time.Hour

// rehearsals keeps the result of the last rehearsal, and when a recovery bundle
// was last drilled.
type rehearsals struct {
	soon chan struct{} // something changed: rehearse again

	mu      sync.Mutex // guards all below
	last    *rest.Rehearsal
	drilled time.Time
}

func newRehearsals() *rehearsals { return &rehearsals{soon: make(chan struct{}, 1)} }

// changed asks for a rehearsal soon.
func (r *rehearsals) changed() {
	select {
	case r.soon <- struct{}{}:
	default: // one is coming
	}
}

func (r *rehearsals) get() (last *rest.Rehearsal, drilled time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last, r.drilled
}

func (r *rehearsals) setDrilled(at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.drilled = at
}

// rehearse keeps rehearsing, every hour and after each change, until ctx ends.
func (n *Node) rehearse(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-n.rehearsals.soon:
		case <-time.After(rehearseEvery):
		}
		r, err := n.Rehearse(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			n.log.Warn("rehearsal not done", "error", err)
		case !r.Passed:
			n.log.Warn("a restart now would leave drives locked", "key", r.Key)
		}
	}
}

// Rehearse proves, now, what a restart would do: it fetches the master key
// anew from its store, reads every header anew from its drive, and opens it.
// It writes nothing, and I/O goes on.
func (n *Node) Rehearse(ctx context.Context) (rest.Rehearsal, error) {
	r := rest.Rehearsal{Key: "fetched", Drives: []rest.RehearsedDrive{}, Passed: true}
	key, _, err := n.keys.fetchStore(ctx)
	if err != nil {
		r.Key, r.Passed = err.Error(), false
	} else {
		defer wipe(key)
	}
	for _, d := range n.drives.rehearse(key) {
		r.Passed = r.Passed && (d.Opens || d.Path == "")
		r.Drives = append(r.Drives, d)
	}
	r.Time = time.Now().UTC()
	n.rehearsals.mu.Lock()
	defer n.rehearsals.mu.Unlock()
	n.rehearsals.last = &r
	return r, nil
}

// rehearse says for every drive of ours what a restart with key would do; key
// is nil if it cannot be had.
func (t *table) rehearse(key *keyring.MasterKey) []rest.RehearsedDrive {
	t.hands.Lock()
	defer t.hands.Unlock()
	var ours []*drive
	for _, d := range t.drives {
		if d.ours() {
			ours = append(ours, d)
		}
	}
	return parallel(ours, func(d *drive) rest.RehearsedDrive {
		var r rest.RehearsedDrive // not looked at if the drive hangs
		if err := t.inTime(d, func(d *drive) error { r = d.rehearse(key); return nil }); err != nil {
			row := d.row()
			return rest.RehearsedDrive{Path: row.Path, Serial: row.Serial, UUID: row.UUID, Outcome: "would not open: " + err.Error()}
		}
		return r
	})
}

func (d *drive) rehearse(key *keyring.MasterKey) rest.RehearsedDrive {
	row := d.row()
	r := rest.RehearsedDrive{Path: row.Path, Serial: row.Serial, UUID: row.UUID}
	switch {
	case d.found == nil:
		r.Outcome = "absent: could not be tried"
	case key == nil:
		r.Outcome = "would stay locked: the master key cannot be fetched"
	case d.dev == nil:
		r.Outcome = "would not open: " + d.detail
	default:
		r.Opens, r.Outcome = d.wouldOpen(key)
	}
	return r
}

func (d *drive) wouldOpen(key *keyring.MasterKey) (bool, string) {
	err := key.Use(func(kek []byte) error { return blockcrypt.Verify(d.dev, kek) })
	switch {
	case err == nil:
		return true, "would open"
	case errors.Is(err, blockcrypt.ErrDegraded):
		return true, fmt.Sprintf("would open, and be repaired: %v", err)
	}
	return false, fmt.Sprintf("would not open: %v", err)
}
