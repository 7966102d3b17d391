package appliance

import (
	"errors"
	"fmt"
	"io/fs"

	"sealbay/blockcrypt"
	"sealbay/keyring"
	"sealbay/keyring/durable"
)

// headerFolder holds, for each drive, a copy of its LUKS2 header as it is now,
// without the keyslots' material: it mends a drive that lost both of its own
// copies, and is of no use to whoever finds the boot drive. In particular it
// does not bring back a key that a rotation has killed.
const headerFolder = "headers"

const maxHeaderCopy = 1 << 20 // bytes; two copies of 16 KiB today

// headers is the folder of header copies.
type headers struct{ folder *durable.Folder }

func openHeaders(s *state) (*headers, error) {
	f, err := durable.Make(s.folder.Path(headerFolder))
	if err != nil {
		return nil, fmt.Errorf("folder of header copies: %w", err)
	}
	return &headers{f}, nil
}

func headerName(uuid string) string { return uuid + ".luks2" }

// keep stores a copy of the drive's header if the one there is of another
// generation.
func (h *headers) keep(d *drive) error {
	if d.copied == d.rec.Generation {
		return nil
	}
	b, err := blockcrypt.BackupHeader(d.dev, blockcrypt.BackupOptions{})
	if err == nil {
		err = h.folder.Replace(headerName(d.rec.UUID), b)
	}
	if err != nil {
		return fmt.Errorf("keeping a copy of the header of %s: %w", d.name(), err)
	}
	d.copied = d.rec.Generation
	return nil
}

// load reads the copy for a drive; fs.ErrNotExist if there is none.
func (h *headers) load(uuid string) ([]byte, error) {
	b := make([]byte, maxHeaderCopy)
	n, err := h.folder.Read(headerName(uuid), b)
	return b[:n], err
}

// drop removes the copy of a drive that was given up.
func (h *headers) drop(uuid string) error {
	if err := h.folder.Remove(headerName(uuid)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// mendAndUnlock writes the copy on the boot drive over a header whose own
// copies are both damaged, and opens the drive, which proves it right.
func (t *table) mendAndUnlock(d *drive, key *keyring.MasterKey) error {
	if !d.beheaded {
		return d.unlock(key)
	}
	err := d.attach()
	if err != nil {
		return err
	}
	b, err := t.headers.load(d.rec.UUID)
	if err == nil {
		err = blockcrypt.RestoreHeader(d.dev, b, blockcrypt.RestoreOptions{})
	}
	if err != nil {
		return fmt.Errorf("both header copies of %s are damaged, and the copy on the boot drive does not mend them: %w", d.name(), err)
	}
	d.beheaded, d.copied = false, 0
	t.log.Warn("both header copies of a drive were damaged; written anew from the copy on the boot drive", "drive", d.name())
	return d.unlock(key)
}
