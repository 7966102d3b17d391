package appliance

import (
	"context"
	"errors"
	"runtime/debug"

	"sealbay/appliance/rest"
	"sealbay/blockcrypt"
	"sealbay/keyring"
)

// What the control interface asks of the node (rest.Node). Reads answer from
// memory.
var _ rest.Node = (*Node)(nil)

// Drives answers drive_list.
func (n *Node) Drives() rest.DriveList { return rest.DriveList{Drives: n.drives.now().drives} }

// Volumes answers volume_list.
func (n *Node) Volumes() rest.VolumeList { return rest.VolumeList{Volumes: n.drives.now().volumes} }

// Version answers version.
func (n *Node) Version() rest.Version { return version() }

// FormatDrive makes an encrypted volume of one drive, which is blank or was
// crypto-erased here.
func (n *Node) FormatDrive(ctx context.Context, sel rest.DriveSelect) (rest.Drive, error) {
	n.drives.hands.Lock()
	defer n.drives.hands.Unlock()
	if _, err := n.drives.scan(); err != nil {
		return rest.Drive{}, err
	}
	d, err := n.drives.pick(sel.Serial)
	if err != nil {
		return rest.Drive{}, err
	}
	reuse := n.erased(d)
	if d.state != rest.DriveBlank && !reuse {
		return rest.Drive{}, rest.Errorf(409, "%s is not blank but %s%s; nothing was done", d.name(), d.state, because(d.detail))
	}
	key, err := n.keys.fetch(ctx)
	if err != nil {
		return rest.Drive{}, sealed(err)
	}
	defer debug.FreeOSMemory() // see bringUp
	if err := n.drives.format([]*drive{d}, key, n.keys.info(), reuse); err != nil {
		return rest.Drive{}, err
	}
	return d.row(), nil
}

func because(detail string) string {
	if detail == "" {
		return ""
	}
	return " (" + detail + ")"
}

// sealed says that there is no key to work with, and why.
func sealed(err error) error {
	if errors.Is(err, keyring.ErrNoKey) {
		return rest.Errorf(409, "the node has no key store yet; choose one with encryption_set_key_store")
	}
	return rest.Errorf(503, "the master key is not at hand: %v", err)
}

// ForgetDrive strikes an absent drive off the table.
func (n *Node) ForgetDrive(ctx context.Context, sel rest.DriveSelect) error {
	n.drives.hands.Lock()
	defer n.drives.hands.Unlock()
	if _, err := n.drives.scan(); err != nil {
		return err
	}
	d, err := n.drives.pick(sel.Serial)
	if err != nil {
		return err
	}
	if d.found != nil {
		return rest.Errorf(409, "%s is attached; only an absent drive can be forgotten", d.name())
	}
	journal, err := n.keys.rotations()
	if err == nil {
		err = journal.Forget(ctx, d.driveName(), n.recovery()) // wipes the key that only it needed
	}
	if err != nil {
		return storeError(err)
	}
	return n.drives.forget(d)
}

// RescueKey derives the key with which stock cryptsetup opens one drive.
func (n *Node) RescueKey(ctx context.Context, sel rest.DriveSelect) (rest.RescueKey, error) {
	n.drives.hands.Lock()
	defer n.drives.hands.Unlock()
	d, err := n.drives.pick(sel.Serial)
	if err != nil {
		return rest.RescueKey{}, err
	}
	if d.vol == nil {
		return rest.RescueKey{}, rest.Errorf(409, "%s is not open but %s%s", d.name(), d.state, because(d.detail))
	}
	key, err := n.keys.fetch(ctx)
	if err != nil {
		return rest.RescueKey{}, sealed(err)
	}
	r := rest.RescueKey{Serial: d.row().Serial, UUID: d.rec.UUID}
	err = key.Use(func(kek []byte) (err error) { r.Key, err = blockcrypt.RescueKey(d.dev, kek); return err })
	return r, err
}
