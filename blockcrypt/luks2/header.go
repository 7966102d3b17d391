package luks2

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"

	"sealbay/blockcrypt/internal/locked"
)

// CopyState is the state of one of the two header copies.
type CopyState struct {
	Name    string // "primary" or "secondary"
	Offset  int64  // bytes
	SeqID   uint64 // sequence number, 0 if the copy is not whole
	Problem error  // nil if the copy is whole and the newest
}

// headerCopy is one copy as it stands on the drive.
type headerCopy struct {
	CopyState
	raw    []byte
	fields *fields // nil if the copy is not whole
	tree   object
}

// whole reports whether the copy can be read, be it stale or not.
func (c *headerCopy) whole() bool { return c.fields != nil }

// Copies are the header copies as they stand on the drive.
type Copies [2]headerCopy

var copyNames = [2]string{"primary", "secondary"}

// errStale: the copy is whole but older than the other.
var errStale = errors.New("older than the other copy")

// ReadCopies reads both copies and says what is wrong with each. The error is
// that of the drive.
func ReadCopies(dev Device) (*Copies, error) {
	var cs Copies
	for i := range cs {
		cs[i].CopyState = CopyState{Name: copyNames[i], Offset: int64(i) * HeaderSize}
		cs[i].raw = make([]byte, HeaderSize)
		if dev.Size() < cs[i].Offset+HeaderSize {
			cs[i].Problem = errNoMagic
			continue
		}
		if _, err := dev.ReadAt(cs[i].raw, cs[i].Offset); err != nil {
			return nil, fmt.Errorf("reading the %s header: %w", cs[i].Name, err)
		}
		cs[i].decode(i)
	}
	cs.markStale()
	return &cs, nil
}

func (c *headerCopy) decode(i int) {
	f, err := decode(c.raw, i)
	if err != nil {
		c.Problem = err
		return
	}
	tree, err := parse(f.json)
	if err != nil {
		c.Problem = fmt.Errorf("JSON: %w", err)
		return
	}
	c.fields, c.tree, c.SeqID = f, tree, f.seqID
}

func (cs *Copies) markStale() {
	if !cs[0].whole() || !cs[1].whole() || cs[0].SeqID == cs[1].SeqID {
		return
	}
	old := &cs[0]
	if cs[1].SeqID < cs[0].SeqID {
		old = &cs[1]
	}
	old.Problem = fmt.Errorf("%w (sequence number %d)", errStale, old.SeqID)
}

// Best returns the header by the recovery rules (7.2): the newest whole copy.
func (cs *Copies) Best() (*Header, error) {
	if cs[0].whole() && cs[1].whole() && cs[0].SeqID == cs[1].SeqID && !sameHeader(cs[0].fields, cs[1].fields) {
		return nil, fmt.Errorf("%w: the copies differ under one sequence number %d", ErrCorrupt, cs[0].SeqID)
	}
	for i := range cs {
		if c := &cs[i]; c.whole() && !errors.Is(c.Problem, errStale) {
			return &Header{copies: *cs, fields: c.fields, tree: c.tree}, nil
		}
	}
	for _, c := range cs {
		if errors.Is(c.Problem, ErrNotSealbay) {
			return nil, c.Problem
		}
	}
	if cs[0].Problem == errNoMagic && cs[1].Problem != nil && !cs.magicAtSecondary() {
		return nil, ErrNoHeader
	}
	return nil, fmt.Errorf("%w: primary: %w; secondary: %w", ErrCorrupt, cs[0].Problem, cs[1].Problem)
}

// magicAtSecondary tells a drive whose primary copy was overwritten from one
// whose format was cut short, where the secondary is written first (7.1) and
// the primary is still blank.
func (cs *Copies) magicAtSecondary() bool {
	return cs[1].Problem != errNoMagic && !isZero(cs[0].raw)
}

func sameHeader(a, b *fields) bool {
	return a.label == b.label && a.uuid == b.uuid && a.subsystem == b.subsystem && bytes.Equal(a.json, b.json)
}

// States returns what can be told of both copies.
func (cs *Copies) States() [2]CopyState { return [2]CopyState{cs[0].CopyState, cs[1].CopyState} }

// Degraded returns an ErrDegraded that names the copy which is not whole and
// newest, or nil.
func Degraded(states [2]CopyState) error {
	for _, c := range states {
		if c.Problem != nil {
			return fmt.Errorf("%w: the %s: %w", ErrDegraded, c.Name, c.Problem)
		}
	}
	return nil
}

// Header is a header as read from a drive. Until Unlock has proved it, what
// it says is only what stands there.
type Header struct {
	copies  Copies
	fields  *fields
	tree    object
	meta    *metadata
	foreign bool
}

// Load reads the header and refuses by name what is not of the profile (6),
// or, if foreign, what cryptsetup could not have written with our cipher and
// sizes (6.3).
func Load(dev Device, foreign bool) (*Header, error) {
	cs, err := ReadCopies(dev)
	if err != nil {
		return nil, err
	}
	h, err := cs.Best()
	if err != nil {
		return nil, err
	}
	if !validUUID(h.fields.uuid) {
		return nil, &ProfileError{Where: "UUID", Got: describe(h.fields.uuid), Want: "a lower-case UUID"}
	}
	h.foreign = foreign
	if h.meta, err = understand(h.tree, foreign); err != nil {
		return nil, h.blame(err)
	}
	return h, h.checkSize(dev.Size())
}

// blame adds to a header that is not of the profile what its token shows:
// that it was once ours, and another program wrote it since.
func (h *Header) blame(mismatch error) error {
	tokens, _ := h.tree["tokens"].(object)
	for _, v := range tokens {
		t, _ := v.(object)
		sealed, _ := t["generation"].(string)
		if t["type"] == tokenType && sealed != strconv.FormatUint(h.fields.seqID, 10) {
			return fmt.Errorf("%w: %w", ErrEdited, mismatch)
		}
	}
	return mismatch
}

// checkSize refuses a drive that lost its end.
func (h *Header) checkSize(size int64) error {
	need := int64(h.meta.offset) + SectorSize
	if h.meta.token != nil {
		need = max(need, int64(min(h.meta.token.size, 1<<62)))
	}
	if size < need {
		return fmt.Errorf("%w: %d bytes, want at least %d", ErrTruncated, size, need)
	}
	return nil
}

// Copies returns the state of both copies when the header was read.
func (h *Header) Copies() [2]CopyState { return h.copies.States() }

// UUID returns the drive's UUID, 36 characters.
func (h *Header) UUID() string { return h.fields.uuid }

// Label returns the label, or "".
func (h *Header) Label() string { return h.fields.label }

// SeqID returns the sequence number, which is also the generation in a sealed
// header.
func (h *Header) SeqID() uint64 { return h.fields.seqID }

// DataOffset returns where the data segment starts, in bytes.
func (h *Header) DataOffset() int64 { return int64(h.meta.offset) }

// Slot is a keyslot as the header describes it.
type Slot struct {
	Offset int64   // of its material, in bytes
	Key    KeyInfo // zero in a foreign header
	Usable error   // foreign headers: nil, or why it cannot be opened here
}

// Slots lists the keyslots, the newest key first.
func (h *Header) Slots() []Slot {
	var out []Slot
	for _, k := range h.meta.ordered() {
		info, _ := h.meta.token.keyOf(k.id)
		out = append(out, Slot{Offset: int64(k.area), Key: info, Usable: k.unusable})
	}
	return out
}

// ordered returns the keyslots in the token's order.
func (m *metadata) ordered() []keyslot {
	if m.token == nil {
		return m.slots
	}
	var out []keyslot
	for _, id := range m.token.slots {
		for _, k := range m.slots {
			if k.id == id {
				out = append(out, k)
			}
		}
	}
	return out
}

// Unlock finds the keyslot that secret opens, proves the volume key by the
// digest and the header by its seal (a foreign header has none), and returns
// the key, which the caller closes.
func (h *Header) Unlock(dev Device, secret []byte) (*locked.Bytes, error) {
	key, _, err := h.unlock(dev, secret)
	return key, err
}

// unlock also returns the name of the keyslot.
func (h *Header) unlock(dev Device, secret []byte) (*locked.Bytes, string, error) {
	key, err := locked.New(KeySize)
	if err != nil {
		return nil, "", err
	}
	id, err := h.find(dev, secret, key.Bytes())
	switch {
	case h.foreign:
	case err == nil:
		err = h.verifySeal(key.Bytes())
	case errors.Is(err, ErrWrongKey):
		err = h.blame(err) // the key may be right, and its keyslot gone
	}
	if err != nil {
		key.Close()
		return nil, "", err
	}
	return key, id, nil
}

// find tries every keyslot, the newest first.
func (h *Header) find(dev Device, secret, key []byte) (string, error) {
	for _, k := range h.meta.ordered() {
		if k.unusable != nil {
			continue
		}
		if err := k.load(dev, secret, key); err != nil {
			return "", fmt.Errorf("keyslot %s: %w", k.id, err)
		}
		ok, err := h.meta.digest.matches(key)
		if ok || err != nil {
			return k.id, err
		}
	}
	return "", ErrWrongKey
}

// validUUID reports whether s is a UUID as this package writes it: the salt
// of the slot secret must have one spelling (4.1).
func validUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		dash := i == 8 || i == 13 || i == 18 || i == 23
		hex := s[i] >= '0' && s[i] <= '9' || s[i] >= 'a' && s[i] <= 'f'
		if dash != (s[i] == '-') || !dash && !hex {
			return false
		}
	}
	return true
}
