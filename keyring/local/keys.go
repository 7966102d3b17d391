package local

import (
	"errors"
	"slices"
	"time"

	"sealbay/keyring"
)

// keys is the content of a key file in locked memory.
type keys struct {
	file    *keyring.Buffer // as it was read; entries point into it
	added   *keyring.Buffer // a key that was not in the file
	entries []entry
}

func newKeys() (*keys, error) {
	file, err := keyring.NewBuffer(maxSize)
	if err != nil {
		return nil, err
	}
	added, err := keyring.NewBuffer(keyring.KeySize)
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return &keys{file: file, added: added}, nil
}

func (f *keys) close() error { return errors.Join(f.file.Close(), f.added.Close()) }

// find returns the index of the first key in role r, or -1.
func (f *keys) find(r role) int {
	return slices.IndexFunc(f.entries, func(e entry) bool { return e.role == r })
}

// index returns the index of the key with ref's fingerprint, or -1.
func (f *keys) index(ref keyring.Ref) int {
	if ref.Type != keyring.Local {
		return -1
	}
	return slices.IndexFunc(f.entries, func(e entry) bool { return keyring.MakeID(e.key) == ref.ID })
}

// add appends a copy of key, at most once per keys.
func (f *keys) add(r role, key *keyring.MasterKey) error {
	if len(f.entries) == maxEntries {
		return errFull
	}
	return key.Use(func(b []byte) error {
		copy(f.added.Bytes(), b)
		f.entries = append(f.entries, entry{r, time.Now().UTC(), f.added.Bytes()})
		return nil
	})
}
