package appliance

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"

	"sealbay/appliance/rest"
	"sealbay/keyring"
)

// bringUp takes the node as far as it gets: sees what is attached, gets the
// key, opens what is ours, and formats what is blank if it may. Repeating it
// is harmless and costs little where nothing changed.
func (n *Node) bringUp(ctx context.Context, formatBlank bool) error {
	changed, err := n.seeDrives()
	if err != nil {
		return err
	}
	if changed { // looking for data takes megabytes; idle nodes should not keep them
		defer debug.FreeOSMemory()
	}
	return n.openDrives(ctx, formatBlank)
}

// openDrives finishes what a rotation left, gets the key and opens what is
// attached and ours.
func (n *Node) openDrives(ctx context.Context, formatBlank bool) error {
	recovered := n.recoverAtStart(ctx)
	if _, err := n.keys.fetch(ctx); err != nil { // may take seconds: nobody's hands are tied
		return errors.Join(recovered, err)
	}
	n.drives.hands.Lock()
	defer n.drives.hands.Unlock()
	key, err := n.keys.fetch(ctx) // from memory, and the one that is current now
	if err != nil {
		return err
	}
	n.settleDrives(ctx, key)
	if closed := n.drives.closed(key); len(closed) > 0 {
		defer n.phase.during(rest.StateUnlocking)()
		if err := n.drives.unlock(closed, key); err != nil {
			return err
		}
	}
	if blank := n.drives.blank(); formatBlank && len(blank) > 0 {
		return errors.Join(recovered, n.drives.format(blank, key, n.keys.info(), false))
	}
	return recovered
}

// recoverAtStart finishes or takes back a rotation that a power cut or the
// like interrupted, before drives are opened. Where it cannot, as when a KMS
// is away, the drives open all the same, and it is tried again.
func (n *Node) recoverAtStart(ctx context.Context) error {
	if !n.keys.unfinished() {
		return nil
	}
	n.drives.hands.Lock()
	defer n.drives.hands.Unlock()
	return n.recover(ctx)
}

// settleDrives brings the attached drives for which a former key is kept to
// the current one: they were away during a rotation, or failed. The caller
// holds hands.
func (n *Node) settleDrives(ctx context.Context, key *keyring.MasterKey) {
	for _, d := range n.drives.drives {
		if d.found == nil || !n.keys.retainedFor(d.rec.UUID) {
			continue
		}
		err := n.settleDrive(ctx, d, key)
		if err != nil && err.Error() != d.unsettled { // once, not every few seconds
			n.log.Warn("a drive is not brought to the current master key", "drive", d.name(), "error", err)
		}
		if err == nil {
			n.log.Info("a drive that was away is brought to the current master key", "drive", d.name())
			d.unsettled = ""
			continue
		}
		d.unsettled = err.Error()
	}
}

func (n *Node) settleDrive(ctx context.Context, d *drive, key *keyring.MasterKey) error {
	journal, err := n.keys.rotations()
	if err == nil {
		err = d.attach()
	}
	if err != nil {
		return err
	}
	_, place, _ := n.keys.current()
	if err := journal.Settle(ctx, keyslots{d}, key, place, n.recovery()); err != nil {
		return err
	}
	return n.rekeyed()
}

// seeDrives brings the table up to date and, on a node that has none, makes
// the key store.
func (n *Node) seeDrives() (changed bool, err error) {
	n.drives.hands.Lock()
	defer n.drives.hands.Unlock()
	if changed, err = n.drives.scan(); err != nil {
		return false, err
	}
	return changed, n.keys.ensure(n.drives.strangers())
}

// Once brings the drives up, proves by reading every header anew that each
// opens, prints the table and returns nil only if all is well.
func (n *Node) Once(ctx context.Context, out io.Writer) error {
	up := n.bringUp(ctx, n.cfg.FormatBlank)
	proved := n.prove(ctx)
	rows := n.drives.now().drives
	printed := printDrives(out, rows, n.drives.fresh())
	if err := errors.Join(up, proved, printed, allWell(rows)); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "\nEvery drive opens with the master key; each header was read back from its drive to prove it.\n%s\n", n.keys.where())
	return err
}

// prove re-reads the header of every open drive and opens it with the key.
func (n *Node) prove(ctx context.Context) error {
	n.drives.hands.Lock()
	defer n.drives.hands.Unlock()
	key, err := n.keys.fetch(ctx)
	if err != nil {
		return err
	}
	return n.drives.prove(key)
}

func allWell(rows []rest.Drive) error {
	open := 0
	for _, d := range rows {
		switch d.State {
		case rest.DriveOpen:
			open++
		case rest.DriveLocked, rest.DriveFailed, rest.DriveAbsent:
			return fmt.Errorf("not every drive is open: %s is %s", driveName(d), d.State)
		}
	}
	if open == 0 {
		return errors.New("no data drive is open: none was found that is ours, or blank with --format-blank")
	}
	return nil
}

func driveName(d rest.Drive) string {
	for _, name := range []string{d.Path, d.Serial, d.UUID} {
		if name != "" {
			return name
		}
	}
	return "a drive"
}
