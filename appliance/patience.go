package appliance

import (
	"cmp"
	"errors"
	"time"

	"sealbay/appliance/internal/sysblock"
	"sealbay/appliance/rest"
	"sealbay/keyring"
)

// drivePatience is how long one operation on a drive's header may take. The
// kernel gives up on a command after 30 s at most drivers' defaults.
const drivePatience = 40 * time.Second

// errHung: a system call on a drive hangs and cannot be taken back. The drive
// is left alone, so that it does not keep the others.
var errHung = errors.New("it did not answer in time, and is left alone until it is pulled and put back")

// within calls f, and waits for it no longer than limit. When f returns later,
// late gets what it returned.
func within[T any](limit time.Duration, f func() T, late func(T)) (result T, ok bool) {
	done := make(chan T, 1)
	go func() { done <- f() }()
	select {
	case result = <-done:
		return result, true
	case <-time.After(limit):
	}
	go func() { late(<-done) }()
	return result, false
}

// inTime has do work on a copy of d, which takes d's place if do returns in
// time. Otherwise d counts as hung, and what do opened is closed when it
// returns after all. The caller holds hands.
func (t *table) inTime(d *drive, do func(*drive) error) error {
	if d.hung {
		return errHung
	}
	c := *d
	vol, dev := d.vol, d.dev
	err, ok := within(cmp.Or(t.patience, drivePatience), func() error { return do(&c) }, func(error) {
		if c.vol != vol && c.vol != nil {
			_ = c.vol.Close() // there is nobody left to tell
		}
		if c.dev != dev && c.dev != nil {
			_ = c.dev.Close()
		}
	})
	if !ok {
		d.hung = true
		return errHung
	}
	*d = c
	return err
}

// lookInTime is look, for a drive that may hang.
func (t *table) lookInTime(found *sysblock.Drive) looked {
	l, ok := within(cmp.Or(t.patience, drivePatience), func() looked { return look(found) }, func(looked) {})
	if !ok {
		return looked{state: rest.DriveFailed, detail: errHung.Error(), hung: true}
	}
	return l
}

// wipe closes a key without waiting for a drive that hangs with it in use: it
// goes as soon as nobody uses it.
func wipe(key *keyring.MasterKey) {
	go func() { _ = key.Close() }() // unmapping memory of ours
}
