// Package local keeps the master key in a file on the boot drive that only
// root can read. The key is not encrypted there: the file protects drives that
// are stolen or sent back without the boot drive, nothing more.
//
// The file, FileName, holds the current key and during a rotation the others
// too, in one envelope (envelope.go), so that each step of a rotation is one
// durable replacement of one file: a power cut leaves the state before it or
// the state after it. Package durable lists the system calls.
package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"
	"time"

	"sealbay/keyring"
	"sealbay/keyring/durable"
)

// FileName is the name of the key file in its folder.
const FileName = "master.key"

// ErrExists: there is a current key already, which making one would destroy.
var ErrExists = errors.New("there is a master key already")

// Store is a keyring.Store over a key file.
type Store struct {
	folder *durable.Folder
	mu     sync.Mutex // one reading or replacing of the file at a time; guards health
	health keyring.Health
}

var _ keyring.Store = (*Store)(nil)

// New returns the store in folder, which has a key after Create or Import. The
// folder is the caller's to close.
func New(folder *durable.Folder) *Store {
	s := &Store{folder: folder}
	key, _, err := s.Fetch(context.Background()) // for the health, which keeps the error
	if err == nil {
		_ = key.Close() // unmapping fresh memory
	}
	return s
}

// Type returns keyring.Local.
func (s *Store) Type() keyring.Type { return keyring.Local }

// Close does nothing.
func (s *Store) Close() error { return nil }

// Path returns the path of the key file.
func (s *Store) Path() string { return s.folder.Path(FileName) }

// Create makes the first key. ErrExists if there is one.
func (s *Store) Create() error {
	key, err := keyring.GenerateMasterKey()
	if err != nil {
		return err
	}
	return errors.Join(s.Import(key), key.Close())
}

// Import stores a copy of key, of a recovery bundle say, as the current key.
// ErrExists if there is one.
func (s *Store) Import(key *keyring.MasterKey) error {
	return s.update(func(f *keys) (bool, error) {
		if f.find(current) >= 0 {
			return false, ErrExists
		}
		return true, f.add(current, key)
	})
}

// Fetch reads the current key from the file.
func (s *Store) Fetch(context.Context) (*keyring.MasterKey, keyring.KeyInfo, error) {
	key, info, err := s.get(func(f *keys) int { return f.find(current) })
	s.note(err)
	return key, info, err
}

// Lookup reads the key that has ref's fingerprint.
func (s *Store) Lookup(_ context.Context, ref keyring.Ref) (*keyring.MasterKey, keyring.KeyInfo, error) {
	return s.get(func(f *keys) int { return f.index(ref) })
}

func (s *Store) get(pick func(*keys) int) (*keyring.MasterKey, keyring.KeyInfo, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f, err := s.read()
	if err != nil {
		return nil, keyring.KeyInfo{}, err
	}
	defer f.close()
	i := pick(f)
	if i < 0 {
		return nil, keyring.KeyInfo{}, s.say(keyring.ErrNoKey)
	}
	key, err := keyring.NewMasterKey(f.entries[i].key) // wipes it in f's memory too
	if err != nil {
		return nil, keyring.KeyInfo{}, err
	}
	return key, infoOf(key, f.entries[i].created), nil
}

func infoOf(key *keyring.MasterKey, created time.Time) keyring.KeyInfo {
	return keyring.KeyInfo{Ref: keyring.Ref{Type: keyring.Local, ID: key.ID()}, Created: created}
}

// Prepare makes a new key and stores it beside the current one.
func (s *Store) Prepare(_ context.Context, want keyring.NewKey) (*keyring.MasterKey, keyring.KeyInfo, error) {
	if want != (keyring.NewKey{}) {
		return nil, keyring.KeyInfo{}, errors.New("a local key store makes its own keys: no key ID or name can be given")
	}
	key, err := keyring.GenerateMasterKey()
	if err != nil {
		return nil, keyring.KeyInfo{}, err
	}
	var created time.Time
	err = s.update(func(f *keys) (bool, error) {
		if f.find(prepared) >= 0 {
			return false, s.say(keyring.ErrPrepared)
		}
		if err := f.add(prepared, key); err != nil {
			return false, err
		}
		created = f.entries[len(f.entries)-1].created
		return true, nil
	})
	if err != nil {
		return nil, keyring.KeyInfo{}, errors.Join(err, key.Close())
	}
	return key, infoOf(key, created), nil
}

// Commit makes the prepared key current and the current one retained.
func (s *Store) Commit(_ context.Context, ref keyring.Ref) error {
	return s.turn(ref, func(f *keys, i int) bool {
		c := f.find(current)
		if c == i {
			return false
		}
		if c >= 0 {
			f.entries[c].role = retained
		}
		f.entries[i].role = current
		return true
	})
}

// Retain makes the prepared key a retained one.
func (s *Store) Retain(_ context.Context, ref keyring.Ref) error {
	return s.turn(ref, func(f *keys, i int) bool {
		if f.entries[i].role != prepared {
			return false
		}
		f.entries[i].role = retained
		return true
	})
}

func (s *Store) turn(ref keyring.Ref, change func(f *keys, i int) bool) error {
	return s.update(func(f *keys) (bool, error) {
		i := f.index(ref)
		if i < 0 {
			return false, fmt.Errorf("turning to %v: %w", ref, s.say(keyring.ErrNoKey))
		}
		return change(f, i), nil
	})
}

// Abort wipes the prepared key.
func (s *Store) Abort(context.Context) error {
	return s.drop(func(f *keys) int { return f.find(prepared) })
}

// Discard wipes the key that ref names, whichever its role.
func (s *Store) Discard(_ context.Context, ref keyring.Ref) error {
	return s.drop(func(f *keys) int { return f.index(ref) })
}

func (s *Store) drop(pick func(*keys) int) error {
	return s.update(func(f *keys) (bool, error) {
		i := pick(f)
		if i < 0 {
			return false, nil
		}
		f.entries = slices.Delete(f.entries, i, i+1)
		return true, nil
	})
}

// Health returns what the last Fetch found.
func (s *Store) Health() keyring.Health {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.health
}

func (s *Store) note(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.health = keyring.Health{Status: keyring.StatusOf(keyring.Local, err), Time: time.Now()}
	if err != nil {
		s.health.Detail = err.Error()
	}
}

func (s *Store) say(err error) error { return fmt.Errorf("%s: %w", s.Path(), err) }

// update changes the file by one durable replacement, if change says that
// there is something to change; a file left without a key is removed. A
// missing file counts as one without keys.
func (s *Store) update(change func(*keys) (bool, error)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	f, err := s.read()
	if errors.Is(err, keyring.ErrNoKey) {
		f, err = newKeys()
	}
	if err != nil {
		return err
	}
	defer f.close()
	if changed, err := change(f); err != nil || !changed {
		return err
	}
	if len(f.entries) == 0 {
		return s.folder.Remove(FileName)
	}
	return s.write(f)
}

func (s *Store) write(f *keys) error {
	out, err := keyring.NewBuffer(maxSize)
	if err != nil {
		return err
	}
	n := encode(out.Bytes(), f.entries)
	return errors.Join(s.folder.Replace(FileName, out.Bytes()[:n]), out.Close())
}

func (s *Store) read() (*keys, error) {
	f, err := newKeys()
	if err != nil {
		return nil, err
	}
	n, err := s.folder.Read(FileName, f.file.Bytes())
	if err == nil {
		f.entries, err = decode(f.file.Bytes()[:n])
		if err != nil {
			err = s.say(err)
		}
	}
	if err != nil {
		return nil, errors.Join(classify(err), f.close())
	}
	return f, nil
}

// classify makes of a file that is not there ErrNoKey, and of one that cannot
// be used ErrCorrupt.
func classify(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: %w", keyring.ErrNoKey, err)
	case errors.Is(err, keyring.ErrCorrupt):
		return err
	}
	return fmt.Errorf("%w: %w", keyring.ErrCorrupt, err)
}
