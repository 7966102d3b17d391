package appliance

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"sealbay/keyring"
	"sealbay/keyring/durable"
)

// Names in the state folder. Every file is replaced by durable.Folder.Replace;
// the audit log is appended to.
const (
	storeFile  = "keystore.json"
	drivesFile = "drives.json"
	auditFile  = "audit.log"
)

const maxStateFile = 8 << 20 // bytes; drives.json of thousands of drives fits

// state is the node's folder on the boot drive.
type state struct{ folder *durable.Folder }

// openState opens the folder, or makes it, for this process alone: two daemons
// on one state would undo each other's rotations.
func openState(dir string) (*state, error) {
	folder, err := durable.Make(dir)
	if err != nil {
		return nil, fmt.Errorf("state folder: %w", err)
	}
	return &state{folder}, nil
}

func (s *state) close() error { return s.folder.Close() }

// storeConfig is keystore.json: which store holds the master key.
type storeConfig struct {
	Version         int          `json:"version"`
	Type            keyring.Type `json:"type"`
	Epoch           uint64       `json:"epoch"` // counts the master keys of this node, from 1
	Created         time.Time    `json:"config_creation_time"`
	LastKeyRotation time.Time    `json:"last_key_rotation_time"`
	KMS             *kmsConfig   `json:"kms,omitempty"`
}

// record is what drives.json keeps of one drive.
type record struct {
	UUID       string    `json:"uuid"`
	Serial     string    `json:"serial,omitempty"`
	Path       string    `json:"path,omitempty"` // where it was seen last
	Size       int64     `json:"size_bytes"`
	Generation uint64    `json:"generation"` // of its header, when it was seen last
	Epoch      uint64    `json:"key_epoch"`  // of its newest key
	Added      time.Time `json:"added"`
}

type drivesConfig struct {
	Version int      `json:"version"`
	Drives  []record `json:"drives"`
}

const stateVersion = 1

// loadStore returns nil where there is no configuration yet.
func (s *state) loadStore() (*storeConfig, error) {
	var c storeConfig
	if ok, err := s.load(storeFile, &c); err != nil || !ok {
		return nil, err
	}
	return &c, s.check(storeFile, c.Version, c.Type == keyring.Local || c.Type == keyring.KMS, "type", string(c.Type))
}

func (s *state) saveStore(c storeConfig) error {
	c.Version = stateVersion
	return s.save(storeFile, c)
}

func (s *state) loadDrives() ([]record, error) {
	var c drivesConfig
	if ok, err := s.load(drivesFile, &c); err != nil || !ok {
		return nil, err
	}
	for _, r := range c.Drives {
		if r.UUID == "" {
			return nil, s.check(drivesFile, c.Version, false, "uuid", "")
		}
	}
	return c.Drives, s.check(drivesFile, c.Version, true, "", "")
}

func (s *state) saveDrives(r []record) error {
	return s.save(drivesFile, drivesConfig{Version: stateVersion, Drives: r})
}

// check reports what keeps a file that is JSON from being used.
func (s *state) check(name string, version int, ok bool, field, value string) error {
	switch {
	case version != stateVersion:
		return fmt.Errorf("%w: %s: field \"version\" is %d, this program knows %d", keyring.ErrCorrupt, s.folder.Path(name), version, stateVersion)
	case !ok:
		return fmt.Errorf("%w: %s: field %q is %q, which means nothing", keyring.ErrCorrupt, s.folder.Path(name), field, value)
	}
	return nil
}

// load reports false where there is no such file. What is not whole and known
// JSON is keyring.ErrCorrupt, with file and field.
func (s *state) load(name string, to any) (bool, error) {
	b := make([]byte, maxStateFile)
	n, err := s.folder.Read(name, b)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("%w: %w", keyring.ErrCorrupt, err)
	}
	d := json.NewDecoder(bytes.NewReader(b[:n]))
	d.DisallowUnknownFields()
	if err := d.Decode(to); err != nil {
		return false, fmt.Errorf("%w: %s: %s", keyring.ErrCorrupt, s.folder.Path(name), explainJSON(err, n))
	}
	return true, nil
}

func explainJSON(err error, size int) string {
	typ, isType := errors.AsType[*json.UnmarshalTypeError](err)
	switch {
	case size == 0:
		return "the file is empty"
	case errors.Is(err, io.ErrUnexpectedEOF):
		return "the file ends in the middle"
	case isType:
		return fmt.Sprintf("field %q cannot be a %s", typ.Field, typ.Value)
	}
	return err.Error()
}

func (s *state) save(name string, v any) error {
	b, err := json.MarshalIndent(v, "", "    ")
	if err != nil {
		return err
	}
	return s.folder.Replace(name, append(b, '\n'))
}
