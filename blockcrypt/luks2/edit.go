package luks2

import (
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"sealbay/blockcrypt/internal/locked"
)

// NewUUID returns a random UUID (RFC 9562, version 4).
func NewUUID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	s := hex.EncodeToString(b[:])
	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}

// CreateOptions shapes a new header.
type CreateOptions struct {
	UUID  string // lower case; "" draws one
	Label string // at most 47 characters
	Key   KeyInfo
}

// Fill draws a UUID if there is none, and returns what is wrong with the
// options or with kek, or nil.
func (o *CreateOptions) Fill(kek []byte) error {
	if len(kek) != KEKSize {
		return keySizeError(kek)
	}
	o.UUID = cmp.Or(o.UUID, NewUUID())
	if !validUUID(o.UUID) {
		return fmt.Errorf("%w UUID: %.60q is not 36 characters of lower-case hexadecimal with dashes", ErrInvalid, o.UUID)
	}
	if len(o.Label) > 47 || printable(o.Label) != nil {
		return fmt.Errorf("%w label: %.60q is not at most 47 characters of printable ASCII", ErrInvalid, o.Label)
	}
	return o.Key.Check()
}

// Create writes a header with a fresh volume key and one keyslot for kek onto
// a drive that holds nothing to keep. The order (7.1) is: keyslot, flush,
// secondary copy, flush, primary copy, flush; cut short, the drive is either
// still without a header or opens.
func Create(dev Device, kek []byte, o CreateOptions) error {
	if err := o.Fill(kek); err != nil {
		return err
	}
	secret, err := SlotSecret(kek, o.UUID)
	if err != nil {
		return err
	}
	defer clear(secret)
	key, err := locked.New(KeySize)
	if err != nil {
		return err
	}
	defer key.Close()
	rand.Read(key.Bytes())
	m, err := newMetadata(key.Bytes(), dev.Size(), o.Key)
	if err != nil {
		return err
	}
	if err := m.slots[0].store(dev, secret, key.Bytes()); err != nil {
		return fmt.Errorf("writing the keyslot: %w", err)
	}
	if err := dev.Flush(); err != nil {
		return err
	}
	f := &fields{seqID: 1, label: o.Label, uuid: o.UUID}
	return write(dev, f, m, key.Bytes(), []int{1, 0})
}

func newMetadata(key []byte, size int64, info KeyInfo) (*metadata, error) {
	d, err := newDigest(key)
	if err != nil {
		return nil, err
	}
	slot := newKeyslot("0", keyslotsStart)
	return &metadata{
		slots: []keyslot{slot}, digest: d, offset: DataOffset,
		token: &token{slots: []string{slot.id}, keys: []KeyInfo{info}, size: uint64(size)},
	}, nil
}

func newKeyslot(id string, area uint64) keyslot {
	k := keyslot{id: id, area: area, areaSize: areaSize, iterations: iterations, salt: make([]byte, saltSize)}
	rand.Read(k.salt)
	return k
}

// write seals m and writes both copies in the given order, each flushed
// before the next.
func write(dev Device, f *fields, m *metadata, key []byte, order []int) error {
	m.token.generation = f.seqID
	tree := m.build()
	var err error
	if m.token.mac, err = seal(key, f, tree); err != nil {
		return err
	}
	f.json = canonical(nil, m.build())
	for _, i := range order {
		if err := writeCopy(dev, f, i); err != nil {
			return err
		}
	}
	return nil
}

func writeCopy(dev Device, f *fields, i int) error {
	b, err := f.encode(i)
	if err != nil {
		return err
	}
	if _, err := dev.WriteAt(b, int64(i)*HeaderSize); err != nil {
		return fmt.Errorf("writing the %s header: %w", copyNames[i], err)
	}
	return dev.Flush()
}

// Repair rewrites a copy that is damaged or stale from the good one, which
// kek must open. A header that is whole stays untouched.
func Repair(dev Device, kek []byte) error {
	e, err := edit(dev, kek)
	if err != nil {
		return err
	}
	e.close()
	return nil
}

// editor is a sealed header, opened and with both copies whole.
type editor struct {
	dev Device
	h   *Header
	key *locked.Bytes
	id  string // of the keyslot that opened
}

func (e *editor) close() { e.key.Close() }

// edit opens the header for a change. Before any change both copies must say
// the same, or a power cut in the middle of the next write could leave
// neither, or bring a header back whose keyslots are gone (7.2).
func edit(dev Device, kek []byte) (*editor, error) {
	h, err := Load(dev, false)
	if err != nil {
		return nil, err
	}
	secret, err := SlotSecret(kek, h.UUID())
	if err != nil {
		return nil, err
	}
	defer clear(secret)
	key, id, err := h.unlock(dev, secret)
	if err != nil {
		return nil, err
	}
	if err := h.mend(dev); err != nil {
		key.Close()
		return nil, err
	}
	return &editor{dev: dev, h: h, key: key, id: id}, nil
}

// mend rewrites a damaged or stale copy from the good one.
func (h *Header) mend(dev Device) error {
	for i := range h.copies {
		if h.copies[i].Problem == nil {
			continue
		}
		if err := writeCopy(dev, h.fields, i); err != nil {
			return err
		}
	}
	return nil
}

// save writes the changed metadata under the next sequence number: primary,
// flush, secondary, flush (7.1).
func (e *editor) save() error {
	f := *e.h.fields
	f.seqID++
	if f.seqID == 0 {
		return errors.New("the header's sequence number is used up")
	}
	return write(e.dev, &f, e.h.meta, e.key.Bytes(), []int{0, 1})
}

// AddKey adds a keyslot for kek2 and names it the newest. kek must open the
// header. Where kek2 opens it already only its KeyInfo is brought up to date.
// Order (7.1): keyslot, flush, primary copy, flush, secondary copy, flush.
func AddKey(dev Device, kek, kek2 []byte, info KeyInfo) error {
	if err := info.Check(); err != nil {
		return err
	}
	e, err := edit(dev, kek)
	if err != nil {
		return err
	}
	defer e.close()
	secret, err := SlotSecret(kek2, e.h.UUID())
	if err != nil {
		return err
	}
	defer clear(secret)
	id, err := e.slotOf(secret)
	if err != nil {
		return err
	}
	if id != "" {
		return e.describe(id, info)
	}
	return e.addSlot(secret, info)
}

// slotOf returns the name of the keyslot that secret opens, or "".
func (e *editor) slotOf(secret []byte) (string, error) {
	key, err := locked.New(KeySize)
	if err != nil {
		return "", err
	}
	defer key.Close()
	id, err := e.h.find(e.dev, secret, key.Bytes())
	if errors.Is(err, ErrWrongKey) {
		return "", nil
	}
	return id, err
}

func (e *editor) describe(id string, info KeyInfo) error {
	t := e.h.meta.token
	if old, _ := t.keyOf(id); old == info && t.slots[0] == id {
		return nil
	}
	t.drop(id)
	t.add(id, info)
	return e.save()
}

func (e *editor) addSlot(secret []byte, info KeyInfo) error {
	k, err := e.h.meta.freeSlot()
	if err != nil {
		return err
	}
	if err := k.store(e.dev, secret, e.key.Bytes()); err != nil {
		return fmt.Errorf("writing keyslot %s: %w", k.id, err)
	}
	if err := e.dev.Flush(); err != nil {
		return err
	}
	m := e.h.meta
	m.slots = append(m.slots, k)
	m.token.add(k.id, info)
	return e.save()
}

// freeSlot returns a keyslot with the lowest free name and area.
func (m *metadata) freeSlot() (keyslot, error) {
	if len(m.slots) >= MaxKeyslots {
		return keyslot{}, fmt.Errorf("%w: all %d are in use", ErrFull, MaxKeyslots)
	}
	id := 0
	for slices.Contains(m.slotIDs(), strconv.Itoa(id)) {
		id++
	}
	area, err := m.freeArea()
	return newKeyslot(strconv.Itoa(id), area), err
}

func (t *token) add(id string, info KeyInfo) {
	t.slots = slices.Insert(t.slots, 0, id)
	t.keys = slices.Insert(t.keys, 0, info)
}

func (t *token) drop(id string) {
	if i := slices.Index(t.slots, id); i >= 0 {
		t.slots = slices.Delete(t.slots, i, i+1)
		t.keys = slices.Delete(t.keys, i, i+1)
	}
}

// KillKey destroys every keyslot that old opens, and any that an interrupted
// KillKey left wiped but listed. keep must open another one. Order (7.1):
// wipe the area, flush, primary copy, flush, secondary copy, flush. It is
// harmless to repeat.
func KillKey(dev Device, keep, old []byte) error {
	e, err := edit(dev, keep)
	if err != nil {
		return err
	}
	defer e.close()
	secret, err := SlotSecret(old, e.h.UUID())
	if err != nil {
		return err
	}
	defer clear(secret)
	doomed, err := e.doomed(secret)
	if err != nil || len(doomed) == 0 {
		return err
	}
	return e.kill(doomed)
}

// doomed returns the keyslots that secret opens and those that are dead.
func (e *editor) doomed(secret []byte) ([]keyslot, error) {
	var doomed []keyslot
	for _, k := range e.h.meta.slots {
		dies, err := e.dies(&k, secret)
		if err != nil {
			return nil, fmt.Errorf("keyslot %s: %w", k.id, err)
		}
		if dies && k.id == e.id {
			return nil, ErrLastKey
		}
		if dies {
			doomed = append(doomed, k)
		}
	}
	return doomed, nil
}

func (e *editor) dies(k *keyslot, secret []byte) (bool, error) {
	key, err := locked.New(KeySize)
	if err != nil {
		return false, err
	}
	defer key.Close()
	if err := k.load(e.dev, secret, key.Bytes()); err != nil {
		return false, err
	}
	if ok, err := e.h.meta.digest.matches(key.Bytes()); ok || err != nil {
		return ok, err
	}
	return k.dead(e.dev)
}

func (e *editor) kill(doomed []keyslot) error {
	m := e.h.meta
	for _, k := range doomed {
		if err := k.wipe(e.dev); err != nil {
			return fmt.Errorf("wiping keyslot %s: %w", k.id, err)
		}
		m.slots = slices.DeleteFunc(m.slots, func(s keyslot) bool { return s.id == k.id })
		m.token.drop(k.id)
	}
	if err := e.dev.Flush(); err != nil {
		return err
	}
	return e.save()
}

// FormatLeftovers returns the part of head, a drive's first bytes, where a
// Create that lost power may have left traces without a header: the secondary
// copy and the first keyslot.
func FormatLeftovers(head []byte) []byte { return head[HeaderSize : keyslotsStart+areaSize] }
