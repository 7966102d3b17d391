package keyring

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Drive is what a rotation needs of an attached drive: its header, not its
// data, so that I/O goes on meanwhile. Whoever joins keyring and drives
// implements it.
type Drive interface {
	// Name returns by what the drive is known.
	Name() DriveName
	// AddKey adds a keyslot for add, which of describes, to the header that
	// have opens; it is on stable storage on return. Where add opens the
	// header already, nothing is done.
	AddKey(ctx context.Context, have, add *MasterKey, of Place) error
	// Opens reads the header anew from the drive and reports whether key
	// opens it. An error means that neither can be said.
	Opens(ctx context.Context, key *MasterKey) (bool, error)
	// KillKey destroys the keyslot that kill opens, if there is one, durably;
	// keep must open another.
	KillKey(ctx context.Context, keep, kill *MasterKey) error
}

// DriveTimeout is how long one operation on a drive may take (ROTATION.md 6).
const DriveTimeout = 60 * time.Second

// errHung: a drive did not answer in time, and may still act.
var errHung = errors.New("it did not answer in time")

// errStillOpens and its neighbours are what the proofs of 3.3 and 3.5 find.
var (
	errStillOpens = errors.New("the header still opens with the key that was removed")
	errNotOpening = errors.New("the header does not open with the key that it should")
)

// crew is the attached drives during one rotation or recovery.
type crew struct {
	drives  []Drive
	timeout time.Duration
	hung    map[string]bool // by UUID; not to be touched again
}

func newCrew(drives []Drive, timeout time.Duration) *crew {
	if timeout == 0 {
		timeout = DriveTimeout
	}
	return &crew{drives: drives, timeout: timeout, hung: map[string]bool{}}
}

func (c *crew) names() []DriveName {
	var all []DriveName
	for _, d := range c.drives {
		all = append(all, d.Name())
	}
	return all
}

// closeKey wipes a key. Where a drive hangs with it in use, that happens when
// the drive wakes up.
func (c *crew) closeKey(k *MasterKey) {
	if len(c.hung) > 0 {
		go k.Close()
		return
	}
	_ = k.Close() // unmapping a mapping of ours
}

// failure is what became of one drive.
type failure struct {
	drive DriveName
	err   error
}

func (f failure) Error() string { return fmt.Sprintf("%v: %v", f.drive, f.err) }
func (f failure) Unwrap() error { return f.err }

// each calls do for every drive that is not hung, all at once, and returns the
// failures in the order of the drives.
func (c *crew) each(ctx context.Context, do func(context.Context, Drive) error) []failure {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	errs := make([]error, len(c.drives))
	var wg sync.WaitGroup
	for i, d := range c.drives {
		if c.hung[d.Name().UUID] {
			errs[i] = errHung
			continue
		}
		wg.Go(func() { errs[i] = inTime(ctx, func() error { return do(ctx, d) }) })
	}
	wg.Wait()
	var failed []failure
	for i, err := range errs {
		if err == nil {
			continue
		}
		name := c.drives[i].Name()
		if errors.Is(err, errHung) {
			c.hung[name.UUID] = true
		}
		failed = append(failed, failure{name, err})
	}
	return failed
}

// inTime waits for do until ctx ends, and a little longer for do to notice. A
// system call on a drive that hangs cannot be interrupted: it is left behind.
func inTime(ctx context.Context, do func() error) error {
	done := make(chan error, 1)
	go func() { done <- do() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-done:
		return err
	case <-time.After(time.Second):
		return errHung
	}
}

// add is 3.3: d opens with add afterwards, proved.
func add(ctx context.Context, d Drive, have, add *MasterKey, of Place) error {
	if err := d.AddKey(ctx, have, add, of); err != nil {
		return err
	}
	return opens(ctx, d, add)
}

// kill is 3.5: d refuses kill and opens with keep afterwards, proved.
func kill(ctx context.Context, d Drive, keep, kill *MasterKey) error {
	if err := d.KillKey(ctx, keep, kill); err != nil {
		return err
	}
	open, err := d.Opens(ctx, kill)
	if err != nil {
		return err
	}
	if open {
		return errStillOpens
	}
	return opens(ctx, d, keep)
}

func opens(ctx context.Context, d Drive, key *MasterKey) error {
	open, err := d.Opens(ctx, key)
	if err == nil && !open {
		err = errNotOpening
	}
	return err
}

// moveOver settles a drive from old to new, in whichever state between it is.
func moveOver(ctx context.Context, d Drive, old, new *MasterKey, of Place) error {
	open, err := d.Opens(ctx, new)
	if err == nil && !open {
		err = add(ctx, d, old, new, of)
	}
	if err != nil {
		return err
	}
	return kill(ctx, d, new, old)
}
