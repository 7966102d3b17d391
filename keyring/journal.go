package keyring

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"
	"time"

	"sealbay/keyring/durable"
)

// JournalFile is the name of the journal in its folder.
const JournalFile = "rotation.json"

const maxJournal = 1 << 20 // bytes; thousands of drives fit

// Place is a key without its bytes, and what leads to it.
type Place struct {
	Ref
	Epoch uint64 `json:"epoch"` // counts the master keys of the node, from 1
	// Config is the caller's: which configuration of the store leads to the
	// key. It holds nothing secret.
	Config json.RawMessage `json:"config,omitempty"`
}

// DriveName is what a drive is known by.
type DriveName struct {
	UUID   string `json:"uuid"`
	Serial string `json:"serial,omitempty"`
}

// String returns "drive SERIAL (UUID)".
func (n DriveName) String() string {
	if n.Serial == "" {
		return "drive " + n.UUID
	}
	return "drive " + n.Serial + " (" + n.UUID + ")"
}

// Retained is a key that is not current and that some drives may need or
// accept (ROTATION.md 5).
type Retained struct {
	Place  Place       `json:"place"`
	Since  time.Time   `json:"since"`
	Drives []DriveName `json:"drives"` // empty: to be wiped
}

// phase says how far a rotation got (ROTATION.md 3).
type phase string

const (
	intent     phase = "intent"
	adding     phase = "adding"
	committing phase = "committing"
)

// active is the rotation under way.
type active struct {
	Phase   phase       `json:"phase"`
	Started time.Time   `json:"started"`
	Old     Place       `json:"old"`
	New     Place       `json:"new"` // of intent: type, epoch and configuration only
	Drives  []DriveName `json:"drives,omitempty"`
}

// record is the content of the journal file.
type record struct {
	Version  int        `json:"version"`
	Last     time.Time  `json:"last_key_rotation_time"`
	Active   *active    `json:"active,omitempty"`
	Retained []Retained `json:"retained,omitempty"`
}

const journalVersion = 1

// Journal is what a node knows durably of its rotations: the one under way,
// the keys that absent drives still need, and when the last one ended. Its
// methods may be called from any goroutine; one rotation, recovery or settling
// runs at a time.
type Journal struct {
	folder *durable.Folder
	busy   sync.Mutex // held through Rotate, Recover, Settle, Forget

	mu  sync.Mutex // guards rec
	rec record
}

// OpenJournal reads the journal in folder, which is empty if there is none. A
// file that cannot be used is ErrCorrupt; nothing is then known of retained
// keys, and none may be wiped.
func OpenJournal(folder *durable.Folder) (*Journal, error) {
	j := &Journal{folder: folder, rec: record{Version: journalVersion}}
	buf := make([]byte, maxJournal)
	n, err := folder.Read(JournalFile, buf)
	if errors.Is(err, fs.ErrNotExist) {
		return j, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if err := parseJournal(buf[:n], &j.rec); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrCorrupt, folder.Path(JournalFile), err)
	}
	return j, nil
}

func parseJournal(b []byte, rec *record) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(rec); err != nil {
		return fmt.Errorf("not a whole journal: %w", err)
	}
	if d.More() {
		return errors.New("something follows the journal")
	}
	if rec.Version != journalVersion {
		return fmt.Errorf("field \"version\" is %d, this program knows %d", rec.Version, journalVersion)
	}
	if a := rec.Active; a != nil && !slices.Contains([]phase{intent, adding, committing}, a.Phase) {
		return fmt.Errorf("field \"active.phase\" is %q, which means nothing", a.Phase)
	}
	for _, r := range rec.Retained {
		if r.Place.Type != Local && r.Place.Type != KMS {
			return fmt.Errorf("field \"retained.place.type\" is %q, which means nothing", r.Place.Type)
		}
	}
	return nil
}

// Interrupted reports whether a rotation was begun and has not ended: Recover
// has work to do.
func (j *Journal) Interrupted() bool { return j.read().Active != nil }

// Last returns when the last rotation was complete, zero if none was.
func (j *Journal) Last() time.Time { return j.read().Last }

// Retained returns the keys that are kept for absent or failed drives.
func (j *Journal) Retained() []Retained { return j.read().Retained }

// Places returns every place that the journal may lead back to: what they
// need (certificates of a KMS, say) must be kept.
func (j *Journal) Places() []Place {
	rec := j.read()
	var all []Place
	if rec.Active != nil {
		all = append(all, rec.Active.Old, rec.Active.New)
	}
	for _, r := range rec.Retained {
		all = append(all, r.Place)
	}
	return all
}

// read returns a copy whose slices nobody changes.
func (j *Journal) read() record {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.rec
}

// write makes rec the journal, durably. After an error the file may hold
// either: who got it stops, and only Recover goes on.
func (j *Journal) write(rec record) error {
	b, err := json.MarshalIndent(rec, "", "    ")
	if err != nil {
		return err
	}
	if len(b) >= maxJournal {
		return fmt.Errorf("writing %s: %d bytes are too many: too many drives are away", j.folder.Path(JournalFile), len(b))
	}
	if err := j.folder.Replace(JournalFile, append(b, '\n')); err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.rec = rec
	return nil
}

// end journals that no rotation is under way any more and that key, which is
// not current, is retained for drives; none means that it is to be wiped.
// current is the key in force, which may have been retained before.
func (j *Journal) end(last time.Time, current, key Place, drives []DriveName) error {
	rec := j.read()
	rec.Active, rec.Last = nil, last
	rec.Retained = withRetained(without(rec.Retained, current.Ref), key, drives)
	return j.write(rec)
}

// discard wipes a retained key that no drive needs.
func (j *Journal) discard(ctx context.Context, s Store, ref Ref) error {
	if err := s.Discard(ctx, ref); err != nil {
		return fmt.Errorf("wiping %v, which no drive needs any more: %w", ref, err)
	}
	rec := j.read()
	rec.Retained = without(rec.Retained, ref)
	return j.write(rec)
}

// setActive journals the rotation under way, nil for none.
func (j *Journal) setActive(a *active) error {
	rec := j.read()
	rec.Active = a
	return j.write(rec)
}

// withRetained returns the list with drives added to the entry of place, which
// is made if need be; the argument stays as it is.
func withRetained(list []Retained, place Place, drives []DriveName) []Retained {
	list = slices.Clone(list)
	i := slices.IndexFunc(list, func(r Retained) bool { return r.Place.Ref == place.Ref })
	if i < 0 {
		return append(list, Retained{place, time.Now().UTC(), drives})
	}
	merged := slices.Clone(list[i].Drives)
	for _, d := range drives {
		if !hasDrive(merged, d.UUID) {
			merged = append(merged, d)
		}
	}
	list[i].Drives = merged
	return list
}

// withoutDrive returns the list with a drive struck off every entry.
func withoutDrive(list []Retained, uuid string) []Retained {
	list = slices.Clone(list)
	for i := range list {
		list[i].Drives = slices.DeleteFunc(slices.Clone(list[i].Drives), func(d DriveName) bool { return d.UUID == uuid })
	}
	return list
}

func without(list []Retained, ref Ref) (rest []Retained) {
	for _, r := range list {
		if r.Place.Ref != ref {
			rest = append(rest, r)
		}
	}
	return rest
}

func hasDrive(list []DriveName, uuid string) bool {
	return slices.ContainsFunc(list, func(d DriveName) bool { return d.UUID == uuid })
}
