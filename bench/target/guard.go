package target

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"sealbay/blockcrypt"
	"sealbay/blockcrypt/blockdev"
)

// ErrHoldsData: the target holds something that the run would destroy, and
// the caller has not named it as given up.
var ErrHoldsData = errors.New("holds data that the bench would erase")

// ErrOtherTarget: the caller gave up something else than the target.
var ErrOtherTarget = errors.New("is not what was given up")

// guard refuses a target that somebody may still need. That it is not in use
// is proved already: the engine has opened it exclusively.
func (t *Target) guard(o Options) error {
	id := &t.Identity
	if o.Erases != "" {
		if !id.named(o.Erases) {
			return fmt.Errorf("target %s %w: %q", id, ErrOtherTarget, o.Erases)
		}
		return nil
	}
	if parts := id.partitions(); len(parts) > 0 {
		return fmt.Errorf("target %s %w: partitions %s", id, ErrHoldsData, strings.Join(parts, ", "))
	}
	if t.file != nil && t.file.grown() {
		return nil // it was empty
	}
	found, err := blockcrypt.FindData(t.Raw)
	if err != nil {
		return fmt.Errorf("target %s: looking for data: %w", id, err)
	}
	if found != "" {
		return fmt.Errorf("target %s %w: %s", id, ErrHoldsData, found)
	}
	return nil
}

// named reports whether s is the target's serial or a path to it.
func (id *Identity) named(s string) bool {
	if s == id.Path || id.Serial != "" && s == id.Serial {
		return true
	}
	a, errA := filepath.EvalSymlinks(s)
	b, errB := filepath.EvalSymlinks(id.Path)
	return errA == nil && errB == nil && filepath.IsAbs(s) && a == b
}

// blankStep is how much is zeroed by one request; bytes.
const blankStep = 64 << 20

// blank zeroes all that was used, so that what is left of a run is taken for
// nobody's data, by the next run or by an installer.
func blank(dev blockdev.Device) error {
	s, err := blockdev.NewSync(dev)
	if err != nil {
		return err
	}
	for off := int64(0); off < s.Size() && err == nil; off += blankStep {
		err = s.Do(blockdev.Request{Op: blockdev.WriteZeroes, Offset: off, Length: min(blankStep, s.Size()-off)})
	}
	if err == nil {
		err = s.Flush()
	}
	if err = errors.Join(err, s.Close()); err != nil {
		return fmt.Errorf("blanking %s after the run: %w", dev.Info().Path, err)
	}
	return nil
}
