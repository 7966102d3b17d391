package appliance

import (
	"context"
	"errors"

	"sealbay/blockcrypt"
	"sealbay/keyring"
)

// keyslots is an attached drive of ours as a rotation sees it (keyring.Drive).
// Its methods touch the header only; I/O on the volume goes on.
type keyslots struct{ d *drive }

var _ keyring.Drive = keyslots{}

// Name returns the drive's UUID and serial number.
func (k keyslots) Name() keyring.DriveName { return k.d.driveName() }

func (d *drive) driveName() keyring.DriveName {
	return keyring.DriveName{UUID: d.rec.UUID, Serial: d.rec.Serial}
}

// AddKey adds a keyslot and describes it in the header's token.
func (k keyslots) AddKey(_ context.Context, have, add *keyring.MasterKey, of keyring.Place) error {
	return with(have, add, func(have, add []byte) error {
		return blockcrypt.AddKey(k.d.dev, have, add, keyInfo(of.Epoch, of.Ref))
	})
}

// Opens reads the header anew; one bad copy of two does not matter.
func (k keyslots) Opens(_ context.Context, key *keyring.MasterKey) (bool, error) {
	err := key.Use(func(kek []byte) error { return blockcrypt.Verify(k.d.dev, kek) })
	switch {
	case err == nil, errors.Is(err, blockcrypt.ErrDegraded):
		return true, nil
	case errors.Is(err, blockcrypt.ErrWrongKey):
		return false, nil
	}
	return false, err
}

// KillKey destroys the keyslot of one key.
func (k keyslots) KillKey(_ context.Context, keep, kill *keyring.MasterKey) error {
	return with(keep, kill, func(keep, kill []byte) error { return blockcrypt.KillKey(k.d.dev, keep, kill) })
}

// with uses two different keys at once.
func with(a, b *keyring.MasterKey, do func(a, b []byte) error) error {
	return a.Use(func(x []byte) error { return b.Use(func(y []byte) error { return do(x, y) }) })
}

// keyed returns the drives that a rotation works on: those that are open.
// Every other known drive counts as away, and the old key is kept for it. The
// caller holds hands.
func (t *table) keyed() (here []keyring.Drive, away []keyring.DriveName) {
	for _, d := range t.drives {
		switch {
		case !d.ours() || !d.known:
		case d.vol != nil && !d.hung:
			here = append(here, keyslots{d})
		default:
			away = append(away, d.driveName())
		}
	}
	return here, away
}

// reachable is keyed for recovery, where drives are not open yet: those whose
// device can be opened are worked on. The caller holds hands.
func (t *table) reachable() (here []keyring.Drive, away []keyring.DriveName) {
	for _, d := range t.drives {
		switch {
		case !d.ours() || !d.known:
		case d.found != nil && t.inTime(d, (*drive).attach) == nil:
			here = append(here, keyslots{d})
		default:
			away = append(away, d.driveName())
		}
	}
	return here, away
}

// rekeyed brings records and header copies up to date after keyslots changed.
// The caller holds hands.
func (t *table) rekeyed() error {
	for _, d := range t.drives {
		if d.dev == nil || !d.ours() || d.hung {
			continue
		}
		d.refused = keyring.ID{}
		if err := t.inTime(d, (*drive).reread); err != nil {
			t.log.Warn("reading a header after a rotation", "drive", d.name(), "error", err)
		}
	}
	return t.save()
}

// reread brings the record up to date with the header.
func (d *drive) reread() error {
	sum, err := blockcrypt.Inspect(d.dev)
	if err == nil {
		d.note(*sum)
	}
	return err
}
