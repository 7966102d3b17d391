package appliance

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"sealbay/appliance/internal/sysblock"
	"sealbay/appliance/rest"
	"sealbay/blockcrypt"
	"sealbay/keyring"
)

// table is the drive table: what is attached, what is known, and where the two
// meet. Drives are told apart by the UUID in their header, so that one which
// returns in another slot is recognised. It is the one place where the keyring
// meets blockcrypt.
//
// Order of locks: hands before mu.
type table struct {
	finder   sysblock.Finder
	patterns []string
	state    *state
	log      *slog.Logger
	headers  *headers
	patience time.Duration // with one operation on a drive; 0 means drivePatience
	changed  func()        // called after every change to a header or to which drives there are

	hands  sync.Mutex // guards drives; held for a whole operation on them
	drives []*drive

	mu   sync.RWMutex // guards view
	view view
}

// view is the table as of the last change, for those who must not wait.
type view struct {
	drives  []rest.Drive
	volumes []rest.Volume
}

// loadTable starts with every drive in drives.json absent.
func loadTable(s *state, patterns []string, log *slog.Logger) (*table, error) {
	records, err := s.loadDrives()
	if err != nil {
		return nil, err
	}
	h, err := openHeaders(s)
	if err != nil {
		return nil, err
	}
	t := &table{patterns: patterns, state: s, log: log, headers: h, changed: func() {}}
	for _, r := range records {
		t.drives = append(t.drives, &drive{rec: r, known: true, state: rest.DriveAbsent})
	}
	t.publish()
	return t, nil
}

// scan looks what is attached now: drives that went are closed, drives that
// came are looked at, those of ours wait locked. It reports whether anything
// changed. The caller holds hands.
func (t *table) scan() (changed bool, err error) {
	found, err := t.finder.Find(t.patterns, t.state.folder.Path("."))
	if err != nil {
		return false, err
	}
	attached := map[string]*sysblock.Drive{}
	for i := range found {
		attached[found[i].ID] = &found[i]
	}
	if t.dropGone(attached) {
		changed = true
	}
	var came []*sysblock.Drive
	for i := range found {
		if _, isNew := attached[found[i].ID]; isNew {
			came = append(came, &found[i])
		}
	}
	looks := parallel(came, t.lookInTime)
	for i, l := range looks {
		t.admit(came[i], l)
	}
	if changed = changed || len(came) > 0; changed {
		t.publish()
		t.changed()
	}
	return changed, nil
}

// dropGone closes the drives that are not attached any more and takes those
// that are out of the map.
func (t *table) dropGone(attached map[string]*sysblock.Drive) (changed bool) {
	t.drives = slices.DeleteFunc(t.drives, func(d *drive) bool {
		if d.found == nil {
			return false
		}
		if now := attached[d.found.ID]; now != nil && now.Size == d.found.Size && (now.InUse == d.found.InUse || d.ours()) {
			changed = changed || now.Path != d.found.Path
			d.found.Path = now.Path
			delete(attached, d.found.ID)
			return false
		}
		changed = true
		if err := d.detach(); err != nil {
			t.log.Warn("closing a drive that is gone", "drive", d.name(), "error", err)
		}
		t.log.Info("drive gone", "drive", d.name())
		d.found = nil
		d.set(rest.DriveAbsent, "")
		return !d.ours()
	})
	return changed
}

// admit puts a drive that came into the table.
func (t *table) admit(found *sysblock.Drive, l looked) {
	d := t.byUUID(l.rec.UUID)
	if l.corrupt {
		d = t.byPlace(found)
	}
	switch {
	case d != nil && l.corrupt:
		d.found, d.refused, d.hung, d.beheaded = found, keyring.ID{}, false, true
		d.set(l.state, l.detail)
	case d != nil && d.found != nil:
		d = &drive{found: found, state: rest.DriveForeign, detail: "has the same UUID as " + d.found.Path + ": a copy; take one of them out"}
		t.drives = append(t.drives, d)
	case d != nil:
		d.found, d.refused, d.hung = found, keyring.ID{}, false
		d.set(l.state, l.detail)
	default:
		d = &drive{found: found, rec: l.rec, state: l.state, detail: l.detail, hung: l.hung}
		t.drives = append(t.drives, d)
	}
	t.log.Info("drive seen", "drive", d.name(), "state", d.state, "detail", d.detail)
}

// byPlace finds the absent drive that a drive without a readable header is, by
// serial number and size.
func (t *table) byPlace(found *sysblock.Drive) (hit *drive) {
	for _, d := range t.drives {
		if d.found != nil || !d.known || found.Serial == "" || d.rec.Serial != found.Serial || d.rec.Size != found.Size {
			continue
		}
		if hit != nil {
			return nil // two of them: not for us to guess
		}
		hit = d
	}
	return hit
}

func (t *table) byUUID(uuid string) *drive {
	for _, d := range t.drives {
		if uuid != "" && d.rec.UUID == uuid {
			return d
		}
	}
	return nil
}

// closed returns the attached drives of ours that are not open, but for those
// that key is known not to open.
func (t *table) closed(key *keyring.MasterKey) (closed []*drive) {
	for _, d := range t.drives {
		if d.ours() && d.found != nil && d.vol == nil && !d.hung && d.refused != key.ID() {
			closed = append(closed, d)
		}
	}
	return closed
}

// unlock opens the drives given. One that fails does not keep the others. The
// caller holds hands.
func (t *table) unlock(closed []*drive, key *keyring.MasterKey) error {
	for i, err := range parallel(closed, func(d *drive) error {
		return t.inTime(d, func(d *drive) error { return t.mendAndUnlock(d, key) })
	}) {
		d := closed[i]
		if err != nil {
			if errors.Is(err, blockcrypt.ErrWrongKey) {
				d.refused = key.ID()
			}
			d.set(failure(err))
			t.log.Warn("drive stays locked", "drive", d.name(), "error", err)
			continue
		}
		d.set(rest.DriveOpen, "")
		t.log.Info("drive open", "drive", d.name(), "uuid", d.rec.UUID)
	}
	return t.save()
}

// format makes volumes of the drives given; with overErased also of what holds
// the remains of a crypto-erase. The caller holds hands.
func (t *table) format(drives []*drive, key *keyring.MasterKey, info blockcrypt.KeyInfo, overErased bool) error {
	var all error
	for i, err := range parallel(drives, func(d *drive) error {
		return t.inTime(d, func(d *drive) error { return d.format(key, info, overErased) })
	}) {
		if err != nil {
			all = errors.Join(all, err)
			drives[i].set(rest.DriveFailed, err.Error())
			continue
		}
		t.log.Info("drive formatted", "drive", drives[i].name(), "uuid", drives[i].rec.UUID)
	}
	return errors.Join(all, t.save())
}

func (t *table) blank() (blank []*drive) {
	for _, d := range t.drives {
		if d.state == rest.DriveBlank {
			blank = append(blank, d)
		}
	}
	return blank
}

// strangers reports whether a Sealbay drive is attached that this node does
// not know.
func (t *table) strangers() bool {
	return slices.ContainsFunc(t.drives, func(d *drive) bool { return d.ours() && !d.known })
}

// epoch returns the newest key epoch that any drive's header knows. The caller
// holds hands.
func (t *table) epoch() (newest uint64) {
	for _, d := range t.drives {
		newest = max(newest, d.rec.Epoch)
	}
	return newest
}

// prove reads the header of every open drive anew and opens it with key. The
// caller holds hands.
func (t *table) prove(key *keyring.MasterKey) error {
	var open []*drive
	for _, d := range t.drives {
		if d.vol != nil {
			open = append(open, d)
		}
	}
	return errors.Join(parallel(open, func(d *drive) error {
		return t.inTime(d, func(d *drive) error {
			return key.Use(func(kek []byte) error { return blockcrypt.Verify(d.dev, kek) })
		})
	})...)
}

// fresh returns the UUIDs of the drives formatted since start.
func (t *table) fresh() map[string]bool {
	t.hands.Lock()
	defer t.hands.Unlock()
	f := map[string]bool{}
	for _, d := range t.drives {
		if d.fresh {
			f[d.rec.UUID] = true
		}
	}
	return f
}

// forget strikes a drive off the table. The caller holds hands.
func (t *table) forget(d *drive) error {
	t.drives = slices.DeleteFunc(t.drives, func(x *drive) bool { return x == d })
	return errors.Join(t.save(), t.headers.drop(d.rec.UUID))
}

// save writes drives.json, keeps copies of headers that changed and publishes
// the table. Only drives that open, or did, are worth remembering: a stranger
// that our key does not open is not.
func (t *table) save() error {
	var records []record
	var failed error
	for _, d := range t.drives {
		if !d.ours() || !d.known {
			continue
		}
		records = append(records, d.rec)
		if d.vol != nil && !d.hung {
			failed = errors.Join(failed, t.inTime(d, t.headers.keep))
		}
	}
	t.publish()
	t.changed()
	return errors.Join(failed, t.state.saveDrives(records))
}

// publish makes the view anew.
func (t *table) publish() {
	v := view{drives: []rest.Drive{}, volumes: []rest.Volume{}}
	for _, d := range t.drives {
		v.drives = append(v.drives, d.row())
		if d.vol != nil {
			v.volumes = append(v.volumes, d.volume())
		}
	}
	slices.SortStableFunc(v.drives, func(a, b rest.Drive) int {
		if (a.Path == "") != (b.Path == "") {
			return strings.Compare(b.Path, a.Path) // absent drives last
		}
		return strings.Compare(a.Path, b.Path)
	})
	t.mu.Lock()
	t.view = v
	t.mu.Unlock()
}

func (t *table) now() view {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.view
}

// pick finds the one drive that an operator means by serial number, UUID or
// path. The caller holds hands.
func (t *table) pick(name string) (*drive, error) {
	if name == "" {
		return nil, rest.Errorf(400, "name a drive by its serial number, UUID or path")
	}
	var hits []*drive
	for _, d := range t.drives {
		r := d.row()
		if name == r.UUID || name == r.Path {
			return d, nil
		}
		if name == r.Serial {
			hits = append(hits, d)
		}
	}
	switch len(hits) {
	case 1:
		return hits[0], nil
	case 0:
		return nil, rest.Errorf(404, "no drive has the serial number, UUID or path %q; drive_list shows them", name)
	}
	return nil, rest.Errorf(409, "%d drives have the serial number %q; name one by its UUID or path", len(hits), name)
}

// close closes every drive.
func (t *table) close() error {
	t.hands.Lock()
	defer t.hands.Unlock()
	var all error
	for _, d := range t.drives {
		if err := d.detach(); err != nil {
			all = errors.Join(all, fmt.Errorf("closing %s: %w", d.name(), err))
		}
	}
	return errors.Join(all, t.headers.folder.Close())
}

// atOnce is how many drives are worked on side by side.
const atOnce = 8

// parallel calls f for each of in, up to atOnce at a time, and returns the
// results in the same order.
func parallel[In, Out any](in []In, f func(In) Out) []Out {
	out := make([]Out, len(in))
	var wg sync.WaitGroup
	room := make(chan struct{}, atOnce)
	for i := range in {
		room <- struct{}{}
		wg.Go(func() {
			defer func() { <-room }()
			out[i] = f(in[i])
		})
	}
	wg.Wait()
	return out
}
