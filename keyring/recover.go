package keyring

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Recovery is what Recover, Settle and Forget need of the node.
type Recovery struct {
	// Open returns the store that leads to a place. The stores are closed
	// after use.
	Open   func(Place) (Store, error)
	Drives []Drive     // attached
	Absent []DriveName // known to the node, not attached
	Commit func(context.Context, Place) error

	Timeout time.Duration // of one operation on a drive; 0 means DriveTimeout
}

// Recover finishes or rolls back a rotation that was interrupted (ROTATION.md
// 4) and wipes retained keys that no drive needs. Where nothing is to be done
// it does nothing. After an error it can be called again, as when a key server
// is back.
func (j *Journal) Recover(ctx context.Context, r Recovery) error {
	j.busy.Lock()
	defer j.busy.Unlock()
	rec := j.read()
	if rec.Active != nil {
		if err := j.resume(ctx, *rec.Active, r); err != nil {
			return fmt.Errorf("recovering the interrupted rotation from %v: %w", rec.Active.Old.Ref, err)
		}
	}
	return j.sweep(ctx, r)
}

func (j *Journal) resume(ctx context.Context, a active, r Recovery) error {
	if a.Phase == intent && a.New.Type == KMS { // a KMS prepares in memory only
		return j.setActive(nil)
	}
	m := &mover{journal: j, crew: newCrew(r.Drives, r.Timeout), active: a, commit: r.Commit, absent: r.Absent}
	var err error
	if m.to, err = r.Open(a.New); err != nil {
		return err
	}
	defer m.to.Close()
	if a.Phase == intent {
		return m.giveUp(ctx)
	}
	if m.from, err = r.Open(a.Old); err != nil {
		return err
	}
	defer m.from.Close()
	return m.resumeOnDrives(context.WithoutCancel(ctx))
}

// resumeOnDrives is 4.2 and 4.3, and 4.4 where one of the keys cannot be had.
func (m *mover) resumeOnDrives(ctx context.Context) error {
	var noOld, noNew error
	if m.old, _, noOld = m.from.Lookup(ctx, m.active.Old.Ref); noOld == nil {
		defer m.crew.closeKey(m.old)
	}
	if m.new, _, noNew = m.to.Lookup(ctx, m.active.New.Ref); noNew == nil {
		defer m.crew.closeKey(m.new)
	}
	switch {
	case noOld != nil && noNew != nil:
		return fmt.Errorf("neither key can be had: %w; %w", noOld, noNew)
	case noOld != nil:
		return m.goOnWithoutOld(ctx)
	case noNew != nil && m.active.Phase == adding:
		return m.journal.end(m.journal.Last(), m.active.Old, m.active.New, m.active.Drives)
	case noNew != nil:
		return m.goBackWithoutNew(ctx, noNew)
	case m.active.Phase == adding:
		return m.takeBackAll(ctx)
	}
	if _, err := m.finish(ctx); !errors.Is(err, ErrUnsettled) {
		return err
	}
	return nil // done as far as can be; Retained names the drives
}

// goOnWithoutOld: the new key is the only one that can be had, so it is the
// one to be in force. Drives that do not open with it would not open at all.
func (m *mover) goOnWithoutOld(ctx context.Context) error {
	if err := m.takeForce(ctx); err != nil {
		return err
	}
	return m.journal.end(time.Now().UTC(), m.active.New, m.active.Old, m.unreached(m.everyone(), everyone(m.crew)))
}

// goBackWithoutNew: the rotation was decided and the new key then destroyed.
// Merely out of reach, it is waited for: some headers may need it.
func (m *mover) goBackWithoutNew(ctx context.Context, cause error) error {
	if !gone(cause) {
		return cause
	}
	if err := m.commit(ctx, m.active.Old); err != nil {
		return err
	}
	return m.journal.end(m.journal.Last(), m.active.Old, m.active.New, m.unreached(m.everyone(), everyone(m.crew)))
}

// everyone counts every attached drive as one that could not be proved.
func everyone(c *crew) (all []failure) {
	for _, d := range c.names() {
		all = append(all, failure{drive: d})
	}
	return all
}

// gone reports whether a key is lost for good, not merely out of reach.
func gone(err error) bool { return errors.Is(err, ErrKeyNotFound) || errors.Is(err, ErrNoKey) }

// sweep wipes the retained keys that no drive needs.
func (j *Journal) sweep(ctx context.Context, r Recovery) error {
	for _, k := range j.Retained() {
		if len(k.Drives) > 0 {
			continue
		}
		s, err := r.Open(k.Place)
		if err != nil {
			return err
		}
		if err := errors.Join(j.discard(ctx, s, k.Place.Ref), s.Close()); err != nil {
			return err
		}
	}
	return nil
}

// Settle brings a drive that was away, or failed, to the current key, which is
// at place, and has it refuse every retained one (ROTATION.md 5). On a drive
// that is settled it changes nothing. After an error it can be called again.
func (j *Journal) Settle(ctx context.Context, d Drive, current *MasterKey, place Place, r Recovery) error {
	j.busy.Lock()
	defer j.busy.Unlock()
	if j.Interrupted() {
		return ErrInterrupted
	}
	c := newCrew([]Drive{d}, r.Timeout)
	for _, k := range j.Retained() {
		if k.Place.ID == current.ID() { // the same bytes under another name
			continue
		}
		if err := j.settle(ctx, c, current, place, k, r); err != nil {
			return fmt.Errorf("bringing %v to the current master key: %w", d.Name(), err)
		}
	}
	if failed := c.each(ctx, func(ctx context.Context, d Drive) error { return opens(ctx, d, current) }); failed != nil {
		return failed[0]
	}
	return j.strike(ctx, d.Name(), r)
}

func (j *Journal) settle(ctx context.Context, c *crew, current *MasterKey, place Place, k Retained, r Recovery) error {
	s, err := r.Open(k.Place)
	if err != nil {
		return err
	}
	defer s.Close()
	old, _, err := s.Lookup(ctx, k.Place.Ref)
	if gone(err) { // nobody opens anything with it: nothing to gain, nothing to fear
		return nil
	}
	if err != nil {
		return err
	}
	defer c.closeKey(old)
	failed := c.each(ctx, func(ctx context.Context, d Drive) error {
		open, err := d.Opens(ctx, old)
		if err != nil {
			return err
		}
		if open {
			return moveOver(ctx, d, old, current, place)
		}
		return tidyUp(ctx, d, current, old)
	})
	if failed != nil {
		return failed[0].err
	}
	return nil
}

// tidyUp has a kill that failed half-way done with: the header refuses old and
// may still list its keyslot. Where the drive waits for yet another key,
// nothing is done.
func tidyUp(ctx context.Context, d Drive, current, old *MasterKey) error {
	open, err := d.Opens(ctx, current)
	if err != nil || !open {
		return err
	}
	return kill(ctx, d, current, old)
}

// strike takes a drive off the lists and wipes what is then needed no more.
func (j *Journal) strike(ctx context.Context, name DriveName, r Recovery) error {
	rec := j.read()
	listed := false
	for _, k := range rec.Retained {
		listed = listed || hasDrive(k.Drives, name.UUID)
	}
	if listed {
		rec.Retained = withoutDrive(rec.Retained, name.UUID)
		if err := j.write(rec); err != nil {
			return err
		}
	}
	return j.sweep(ctx, r)
}

// Forget gives a drive up: keys that only it needed are wiped.
func (j *Journal) Forget(ctx context.Context, name DriveName, r Recovery) error {
	j.busy.Lock()
	defer j.busy.Unlock()
	if j.Interrupted() {
		return ErrInterrupted
	}
	return j.strike(ctx, name, r)
}
