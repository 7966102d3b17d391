package appliance

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"time"

	"sealbay/appliance/rest"
	"sealbay/blockcrypt"
)

// eraseMethod describes what blockcrypt.CryptoErase does, for the receipt.
const eraseMethod = "crypto-erase: every keyslot and both LUKS2 headers overwritten with random bytes, then with zeros, flushed and read back"

// CryptoErase destroys the keys of an attached drive of ours, open or locked,
// strikes it off the table and leaves a receipt in the state folder.
func (n *Node) CryptoErase(_ context.Context, sel rest.DriveSelect) (rest.EraseReceipt, error) {
	n.drives.hands.Lock()
	defer n.drives.hands.Unlock()
	d, err := n.drives.pick(sel.Serial)
	if err != nil {
		return rest.EraseReceipt{}, err
	}
	if !d.ours() || d.found == nil {
		return rest.EraseReceipt{}, rest.Errorf(409, "%s is %s%s; only an attached drive that Sealbay formatted can be erased", d.name(), d.state, because(d.detail))
	}
	receipt, err := n.drives.erase(d)
	if err != nil {
		return rest.EraseReceipt{}, err
	}
	return receipt, n.keepReceipt(&receipt)
}

// erase closes the volume, destroys the keys and forgets the drive. The caller
// holds hands.
func (t *table) erase(d *drive) (rest.EraseReceipt, error) {
	if err := d.closeVolume(); err != nil {
		return rest.EraseReceipt{}, err
	}
	if err := d.attach(); err != nil {
		return rest.EraseReceipt{}, err
	}
	e, err := blockcrypt.CryptoErase(d.dev)
	if err != nil {
		d.set(rest.DriveFailed, err.Error())
		t.publish()
		return rest.EraseReceipt{}, err
	}
	receipt := rest.EraseReceipt{
		Serial: d.rec.Serial, UUID: d.rec.UUID, Path: d.found.Path, Time: time.Now().UTC(), Method: eraseMethod,
		HeaderSHA256Before: hex.EncodeToString(e.Before[:]), HeaderSHA256After: hex.EncodeToString(e.After[:]),
	}
	err = errors.Join(d.detach(), t.headers.drop(d.rec.UUID))
	d.rec, d.known = record{}, false
	d.set(rest.DriveForeign, "crypto-erased, holds the remains of data that nothing opens")
	return receipt, errors.Join(err, t.save())
}

// keepReceipt writes the receipt beside the node's state and says where.
func (n *Node) keepReceipt(r *rest.EraseReceipt) error {
	name := "erased-" + r.UUID + ".json"
	r.ReceiptFile = n.state.folder.Path(name)
	b, err := json.MarshalIndent(r, "", "    ")
	if err != nil {
		return err
	}
	return n.state.folder.Replace(name, append(b, '\n'))
}
