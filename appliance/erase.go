package appliance

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"sealbay/appliance/rest"
	"sealbay/blockcrypt"
	"sealbay/blockcrypt/blockdev"
	"sealbay/blockcrypt/blockdev/direct"
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

// erased reports whether a receipt says that we erased the drive, and the
// header area is still as it was left then: whoever put data on it since, be it
// anywhere in that area, would be seen.
func (n *Node) erased(d *drive) bool {
	if d.found == nil || d.found.Serial == "" || d.state != rest.DriveForeign || d.found.InUse != "" {
		return false
	}
	names, err := fileNames(n.state.folder.Path("."))
	if err != nil {
		return false
	}
	for _, name := range names {
		var r rest.EraseReceipt
		if !strings.HasPrefix(name, receiptPrefix) {
			continue
		}
		if ok, err := n.state.load(name, &r); ok && err == nil && r.Serial == d.found.Serial && headerHash(d.found.Path) == r.HeaderSHA256After {
			return true
		}
	}
	return false
}

// headerHash hashes the header area as CryptoErase does; empty if it cannot
// be read.
func headerHash(path string) string {
	dev, err := direct.Open(path, direct.Options{ReadOnly: true})
	if err != nil {
		return ""
	}
	defer dev.Close() // only read from
	s, err := blockdev.NewSync(dev)
	if err != nil {
		return ""
	}
	defer s.Close()
	area := make([]byte, blockcrypt.DataOffset)
	if _, err := s.ReadAt(area, 0); err != nil {
		return ""
	}
	sum := sha256.Sum256(area)
	return hex.EncodeToString(sum[:])
}

const receiptPrefix = "erased-"

// keepReceipt writes the receipt beside the node's state and says where.
func (n *Node) keepReceipt(r *rest.EraseReceipt) error {
	name := receiptPrefix + r.UUID + ".json"
	r.ReceiptFile = n.state.folder.Path(name)
	b, err := json.MarshalIndent(r, "", "    ")
	if err != nil {
		return err
	}
	return n.state.folder.Replace(name, append(b, '\n'))
}
