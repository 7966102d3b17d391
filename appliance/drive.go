package appliance

import (
	"errors"
	"fmt"
	"time"

	"sealbay/appliance/internal/sysblock"
	"sealbay/appliance/rest"
	"sealbay/blockcrypt"
	"sealbay/blockcrypt/blockdev"
	"sealbay/blockcrypt/blockdev/direct"
	"sealbay/keyring"
)

// drive is one row of the drive table: something attached, something known, or
// both.
type drive struct {
	found     *sysblock.Drive // where it is now; nil while absent
	rec       record          // what drives.json keeps; no UUID: not one of ours
	dev       blockdev.Device // open from attach on while it is ours
	vol       *blockcrypt.Volume
	state     string // one of rest.Drive...
	detail    string
	unsettled string     // why it could not be brought to the current key
	refused   keyring.ID // the key that the drive refused since it came
	known     bool       // in drives.json, or opened by our key since start
	fresh     bool       // formatted since start
	copied    uint64     // generation of the header copy on the boot drive
	beheaded  bool       // both header copies are damaged; the one on the boot drive may mend it
	hung      bool       // a system call on it hangs; its header is not touched until it was pulled
}

func (d *drive) ours() bool { return d.rec.UUID != "" }

// name is what messages call the drive.
func (d *drive) name() string {
	switch {
	case d.found != nil && d.rec.Serial != "":
		return d.found.Path + " (serial " + d.rec.Serial + ")"
	case d.found != nil:
		return d.found.Path
	case d.rec.Serial != "":
		return "the drive with serial " + d.rec.Serial
	}
	return "the drive with UUID " + d.rec.UUID
}

// set says what state the drive is in and, if it is not open, why.
func (d *drive) set(state, detail string) { d.state, d.detail = state, detail }

// look finds out what an attached drive holds. It opens it for reading only
// and leaves it closed.
func look(found *sysblock.Drive) looked {
	if found.InUse != "" {
		return looked{state: rest.DriveForeign, detail: found.InUse}
	}
	dev, err := direct.Open(found.Path, direct.Options{ReadOnly: true})
	if err != nil {
		return looked{state: rest.DriveFailed, detail: err.Error()}
	}
	l := identify(dev, found)
	if err := dev.Close(); err != nil {
		return looked{state: rest.DriveFailed, detail: err.Error()}
	}
	return l
}

// looked is what look found out.
type looked struct {
	rec           record
	state, detail string
	hung          bool
	corrupt       bool // there was a LUKS2 header, and neither copy is whole
}

func identify(dev blockdev.Device, found *sysblock.Drive) looked {
	sum, err := blockcrypt.Inspect(dev)
	switch {
	case err == nil && sum.Foreign == nil:
		return looked{rec: recordOf(sum, found), state: rest.DriveLocked}
	case err == nil:
		return looked{state: rest.DriveForeign, detail: sum.Foreign.Error()}
	case errors.Is(err, blockcrypt.ErrTooSmall), errors.Is(err, blockcrypt.ErrNotSealbay):
		return looked{state: rest.DriveForeign, detail: err.Error()}
	case !errors.Is(err, blockcrypt.ErrNoHeader):
		return looked{state: rest.DriveFailed, detail: err.Error(), corrupt: errors.Is(err, blockcrypt.ErrCorrupt)}
	}
	what, err := blockcrypt.FindData(dev)
	switch {
	case err != nil:
		return looked{state: rest.DriveFailed, detail: err.Error()}
	case what != "":
		return looked{state: rest.DriveForeign, detail: "holds " + what}
	}
	return looked{state: rest.DriveBlank}
}

func recordOf(sum *blockcrypt.Summary, found *sysblock.Drive) record {
	return record{
		UUID: sum.UUID, Serial: found.Serial, Path: found.Path, Size: found.Size,
		Generation: sum.Generation, Epoch: sum.Key().Epoch, Added: time.Now().UTC(),
	}
}

// attach opens the device of a drive of ours for reading and writing, and for
// nobody else.
func (d *drive) attach() error {
	if d.dev != nil {
		return nil
	}
	dev, err := direct.Open(d.found.Path, direct.Options{})
	if err != nil {
		return err
	}
	d.dev = dev
	return nil
}

// closeVolume wipes the drive's volume key.
func (d *drive) closeVolume() error {
	if d.vol == nil {
		return nil
	}
	err := d.vol.Close()
	d.vol = nil
	return err
}

// detach closes volume and device.
func (d *drive) detach() error {
	err := d.closeVolume()
	if d.dev != nil {
		err = errors.Join(err, d.dev.Close())
		d.dev = nil
	}
	return err
}

// unlock opens the volume under key, mends a damaged header copy and proves,
// by reading the header anew, that the key opens it.
func (d *drive) unlock(key *keyring.MasterKey) error {
	if err := d.attach(); err != nil {
		return err
	}
	return key.Use(func(kek []byte) error {
		err := blockcrypt.Verify(d.dev, kek)
		if errors.Is(err, blockcrypt.ErrDegraded) {
			if err = blockcrypt.Repair(d.dev, kek); err == nil {
				err = blockcrypt.Verify(d.dev, kek)
			}
		}
		if err != nil || d.vol != nil {
			return err
		}
		vol, err := blockcrypt.Open(d.dev, kek, blockcrypt.OpenOptions{MinGeneration: d.rec.Generation})
		if err != nil {
			return err
		}
		d.vol, d.known = vol, true
		d.note(vol.Summary())
		return nil
	})
}

// note brings the record up to date with the header.
func (d *drive) note(sum blockcrypt.Summary) {
	d.rec.Generation, d.rec.Epoch = sum.Generation, sum.Key().Epoch
	if d.found != nil {
		d.rec.Serial, d.rec.Path, d.rec.Size = d.found.Serial, d.found.Path, d.found.Size
	}
}

// format makes a blank drive an encrypted volume under key and proves that it
// opens. What is not blank, blockcrypt refuses unless overErased is set.
func (d *drive) format(key *keyring.MasterKey, info blockcrypt.KeyInfo, overErased bool) error {
	dev, err := direct.Open(d.found.Path, direct.Options{})
	if err != nil {
		return err
	}
	var sum *blockcrypt.Summary
	err = key.Use(func(kek []byte) error {
		sum, err = blockcrypt.Format(dev, kek, blockcrypt.FormatOptions{Key: info, Force: overErased})
		return err
	})
	if err != nil {
		return errors.Join(err, dev.Close())
	}
	d.dev, d.rec, d.fresh = dev, recordOf(sum, d.found), true
	if err := d.unlock(key); err != nil {
		return fmt.Errorf("formatted, but: %w", err)
	}
	d.set(rest.DriveOpen, "")
	return nil
}

// failure sorts why a drive does not open into its state.
func failure(err error) (state, detail string) {
	if errors.Is(err, blockcrypt.ErrWrongKey) {
		return rest.DriveLocked, err.Error()
	}
	return rest.DriveFailed, err.Error()
}

func (d *drive) row() rest.Drive {
	r := rest.Drive{Detail: d.detail, State: d.state, UUID: d.rec.UUID, KeyEpoch: d.rec.Epoch, Serial: d.rec.Serial, SizeBytes: d.rec.Size}
	if d.found != nil {
		r.Path, r.Serial, r.SizeBytes = d.found.Path, d.found.Serial, d.found.Size
	}
	return r
}

func (d *drive) volume() rest.Volume {
	info := d.vol.Info()
	return rest.Volume{Cipher: "aes-xts-plain64", Path: info.Path, SectorBytes: info.Sector, Serial: d.rec.Serial, SizeBytes: info.Size, UUID: d.rec.UUID}
}
