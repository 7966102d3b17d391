package keyring

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
)

// What a rotation's caller acts on.
var (
	// ErrInterrupted: a rotation was interrupted and must be recovered first.
	ErrInterrupted = errors.New("an interrupted rotation of the master key must be recovered first")
	// ErrRolledBack: the rotation failed, and every attached drive opens with
	// the old key as before.
	ErrRolledBack = errors.New("the rotation of the master key was rolled back")
	// ErrUnsettled: the new key is in force, but some drives could not be
	// settled; the old key is retained for them.
	ErrUnsettled = errors.New("the rotation of the master key is not complete on every drive")
)

// Rotation is one change of the master key.
type Rotation struct {
	Key   *MasterKey // the current key, in the caller's memory; the caller's to close
	Old   Place      // of Key
	From  Store      // of Key; it is not asked for it: its KMS may be what has gone
	To    Store      // may be From
	ToCfg json.RawMessage
	Want  NewKey

	Drives []Drive     // attached
	Absent []DriveName // known to the node, not attached

	// Commit makes durable that the node's current key is at the place given
	// (keystore.json). It may be called again for the same place.
	Commit func(context.Context, Place) error

	Timeout time.Duration // of the operations on one drive in one step; 0 means DriveTimeout
}

// Result is what became of a rotation that took force.
type Result struct {
	New     Place
	Time    time.Time   // of completion
	Waiting []DriveName // drives for which the old key is retained
}

// Rotate carries out the steps of ROTATION.md 3. Without an error every
// attached drive opened with the new key and refused the old one. Once a drive
// was touched, the end of ctx stops nothing.
//
// An error that is ErrRolledBack, or comes before any drive was touched, means
// that the old key is in force on every drive; ErrUnsettled that the new one
// is, and Result is valid; any other that the rotation stopped on the way, if
// Interrupted says so, and Recover will finish it or roll it back.
func (j *Journal) Rotate(ctx context.Context, r Rotation) (Result, error) {
	j.busy.Lock()
	defer j.busy.Unlock()
	if j.Interrupted() {
		return Result{}, ErrInterrupted
	}
	m := &mover{journal: j, crew: newCrew(r.Drives, r.Timeout), old: r.Key, from: r.From, to: r.To, commit: r.Commit, absent: r.Absent}
	if err := m.prepare(ctx, r); err != nil {
		return Result{}, err
	}
	defer m.crew.closeKey(m.new)
	ctx = context.WithoutCancel(ctx)
	if failed := m.addAll(ctx); failed != nil {
		return Result{}, m.rollBack(ctx, failed)
	}
	if err := j.setActive(m.at(committing)); err != nil {
		return Result{}, err
	}
	return m.finish(ctx)
}

// mover carries one rotation through its steps, from the start or, after a
// cut, from where the journal says.
type mover struct {
	journal  *Journal
	crew     *crew
	active   active
	old, new *MasterKey
	from, to Store
	commit   func(context.Context, Place) error
	absent   []DriveName
}

// at returns the journal's entry for a phase.
func (m *mover) at(p phase) *active {
	a := m.active
	a.Phase = p
	return &a
}

// prepare is 3.1 and 3.2. After an error no drive was touched, and what was
// prepared is given up or the journal is left for Recover.
func (m *mover) prepare(ctx context.Context, r Rotation) error {
	m.active = active{
		Started: time.Now().UTC(), Old: r.Old, Drives: m.crew.names(),
		New: Place{Ref: Ref{Type: r.To.Type()}, Epoch: r.Old.Epoch + 1, Config: r.ToCfg},
	}
	if err := m.journal.setActive(m.at(intent)); err != nil {
		return err
	}
	// A prepared key that no journal tells of was never in force: nothing needs it.
	if err := r.To.Abort(ctx); err != nil {
		return err
	}
	key, info, err := r.To.Prepare(ctx, r.Want)
	if err == nil && key.Equal(m.old) {
		err = fmt.Errorf("%v holds the same bytes as the current key: a rotation needs another key", info.Ref)
		_ = key.Close() // the refusal is what counts
	}
	if err != nil {
		if again := m.giveUp(context.WithoutCancel(ctx)); again != nil {
			return fmt.Errorf("%w; and giving up: %w", err, again)
		}
		return err
	}
	m.new, m.active.New.Ref = key, info.Ref
	if err := m.journal.setActive(m.at(adding)); err != nil {
		return errors.Join(err, key.Close())
	}
	return nil
}

// giveUp is 4.1.
func (m *mover) giveUp(ctx context.Context) error {
	if err := m.to.Abort(ctx); err != nil {
		return err
	}
	return m.journal.setActive(nil)
}

// addAll is 3.3.
func (m *mover) addAll(ctx context.Context) []failure {
	return m.crew.each(ctx, func(ctx context.Context, d Drive) error { return add(ctx, d, m.old, m.new, m.active.New) })
}

// rollBack is 4.2 after a failure of 3.3, of which it tells.
func (m *mover) rollBack(ctx context.Context, failed []failure) error {
	if err := m.takeBackAll(ctx); err != nil {
		return fmt.Errorf("%w; and rolling back: %w", joined(failed), err)
	}
	return fmt.Errorf("%w: %w", ErrRolledBack, joined(failed))
}

// takeBackAll is 4.2. For drives that are away or fail the new key is retained.
func (m *mover) takeBackAll(ctx context.Context) error {
	failed := m.crew.each(ctx, func(ctx context.Context, d Drive) error { return kill(ctx, d, m.old, m.new) })
	if err := m.to.Retain(ctx, m.active.New.Ref); err != nil {
		return err
	}
	waiting := m.unreached(m.active.Drives, failed)
	return m.end(ctx, m.journal.Last(), m.active.Old, m.to, m.active.New, waiting)
}

// end closes the journal: current is in force, other is retained for waiting,
// or wiped if there are none.
func (m *mover) end(ctx context.Context, last time.Time, current Place, s Store, other Place, waiting []DriveName) error {
	if err := m.journal.end(last, current, other, waiting); err != nil {
		return err
	}
	if len(waiting) > 0 {
		return nil
	}
	return m.journal.discard(ctx, s, other.Ref)
}

// finish is 3.4 to 3.6.
func (m *mover) finish(ctx context.Context) (Result, error) {
	if err := m.takeForce(ctx); err != nil {
		return Result{}, err
	}
	failed := m.crew.each(ctx, func(ctx context.Context, d Drive) error { return moveOver(ctx, d, m.old, m.new, m.active.New) })
	res := Result{New: m.active.New, Time: time.Now().UTC(), Waiting: m.unreached(m.everyone(), failed)}
	if err := m.end(ctx, res.Time, m.active.New, m.from, m.active.Old, res.Waiting); err != nil {
		return Result{}, err
	}
	if failed != nil {
		return res, fmt.Errorf("%w: %w", ErrUnsettled, joined(failed))
	}
	return res, nil
}

// takeForce is 3.4.
func (m *mover) takeForce(ctx context.Context) error {
	if err := m.to.Commit(ctx, m.active.New.Ref); err != nil {
		return err
	}
	return m.commit(ctx, m.active.New)
}

// everyone is every drive that has to do with the rotation.
func (m *mover) everyone() []DriveName {
	return slices.Concat(m.active.Drives, m.absent, m.crew.names())
}

// unreached returns those of all that are not attached, and those that failed.
func (m *mover) unreached(all []DriveName, failed []failure) []DriveName {
	var left []DriveName
	attached := m.crew.names()
	for _, d := range all {
		if !hasDrive(attached, d.UUID) && !hasDrive(left, d.UUID) {
			left = append(left, d)
		}
	}
	for _, f := range failed {
		left = append(left, f.drive)
	}
	return left
}

// joined is errors.Join on one line.
func joined(failed []failure) error {
	var err error = failed[0]
	for _, f := range failed[1:] {
		err = fmt.Errorf("%w; %w", err, f)
	}
	return err
}
