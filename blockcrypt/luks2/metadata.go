package luks2

import (
	"fmt"
	"slices"
	"strconv"
)

// keyslot is one entry of "keyslots" (3.2).
type keyslot struct {
	id         string
	area       uint64 // offset in bytes
	areaSize   uint64
	salt       []byte
	iterations int
	unusable   error // foreign headers only: why this package cannot open it
}

// digest is the one entry of "digests" (3.4).
type digest struct {
	iterations int
	salt, sum  []byte
}

// metadata is the JSON of a header, understood.
type metadata struct {
	slots  []keyslot
	digest digest
	offset uint64 // of the data segment, in bytes
	token  *token // nil in a foreign header without one
	// keyslots ends here, in bytes.
	areasEnd uint64
}

// understand reads the JSON by the profile (3), or, if foreign, by the looser
// rules for headers that cryptsetup wrote (6.3).
func understand(tree object, foreign bool) (*metadata, error) {
	var err error
	m := &metadata{}
	top := newMember("", tree, &err)
	m.config(top.object("config"), foreign)
	m.keyslots(top.object("keyslots"), foreign)
	m.segment(top.object("segments"), foreign)
	m.digests(top.object("digests"), foreign)
	m.tokens(top.object("tokens"), foreign)
	top.done()
	if err != nil {
		return nil, err
	}
	return m, nil
}

func (m *metadata) config(c *member, foreign bool) {
	c.wantDecimal("json_size", jsonSize)
	size := c.decimal("keyslots_size")
	m.areasEnd = keyslotsStart + min(size, 1<<40)
	if !foreign && size != keyslotsSize {
		c.fail("keyslots_size", strconv.FormatUint(size, 10), strconv.Itoa(keyslotsSize))
	}
	if c.has("requirements") {
		noRequirements(c.object("requirements"))
	}
	if c.has("flags") && len(c.ids("flags")) > 0 {
		c.fail("flags", "not empty", "none")
	}
	c.done()
}

// noRequirements refuses a mandatory requirement: whoever set it says that
// the rest must not be understood without knowing it.
func noRequirements(r *member) {
	if r.has("mandatory") {
		if names := r.ids("mandatory"); len(names) > 0 {
			r.fail("mandatory", fmt.Sprintf("%.60q", names), "none")
		}
	}
	r.done()
}

func (m *metadata) keyslots(k *member, foreign bool) {
	for _, id := range k.names() {
		s := k.object(id)
		if foreign {
			m.slots = append(m.slots, foreignKeyslot(s, id))
			continue
		}
		m.slots = append(m.slots, readKeyslot(s, id, false))
	}
	if n := len(m.slots); n == 0 || !foreign && n > MaxKeyslots {
		k.fail("*", fmt.Sprintf("%d keyslots", n), fmt.Sprintf("1 to %d", MaxKeyslots))
	}
	m.areas(k, foreign)
}

// areas checks that no keyslot's material lies where it may not (3.2).
func (m *metadata) areas(k *member, foreign bool) {
	for i, s := range m.slots {
		end := s.area + s.areaSize
		if s.area < keyslotsStart || end < s.area || end > m.areasEnd || s.area%4096 != 0 {
			k.fail(s.id+".area.offset", strconv.FormatUint(s.area, 10), "inside the keyslots area, a multiple of 4096")
		}
		if !foreign && (s.area-keyslotsStart)%areaSize != 0 {
			k.fail(s.id+".area.offset", strconv.FormatUint(s.area, 10), fmt.Sprintf("%d plus a multiple of %d", keyslotsStart, areaSize))
		}
		for _, o := range m.slots[:i] {
			if s.area < o.area+o.areaSize && o.area < end {
				k.fail(s.id+".area", "overlaps that of keyslot "+o.id, "an area of its own")
			}
		}
	}
}

func readKeyslot(s *member, id string, foreign bool) keyslot {
	k := keyslot{id: id, areaSize: areaSize}
	s.want("type", "luks2")
	s.wantInt("key_size", KeySize)
	af := s.object("af")
	af.want("type", "luks1")
	af.wantInt("stripes", stripes)
	af.want("hash", hashName)
	af.done()
	area := s.object("area")
	area.want("type", "raw")
	k.area = area.decimal("offset")
	area.wantDecimal("size", areaSize)
	area.want("encryption", cipherName)
	area.wantInt("key_size", KeySize)
	area.done()
	kdf := s.object("kdf")
	kdf.want("type", "pbkdf2")
	kdf.want("hash", hashName)
	k.iterations = readIterations(kdf, foreign)
	k.salt = kdf.base64("salt", saltSize)
	kdf.done()
	if foreign && s.has("priority") {
		s.integer("priority")
	}
	s.done()
	return k
}

// maxIterations bounds the time that a foreign header can cost: about 20 s.
const maxIterations = 50_000_000

func readIterations(kdf *member, foreign bool) int {
	n := kdf.integer("iterations")
	if !foreign && n != iterations {
		kdf.fail("iterations", strconv.FormatInt(n, 10), strconv.Itoa(iterations))
	}
	if n < iterations || n > maxIterations {
		kdf.fail("iterations", strconv.FormatInt(n, 10), fmt.Sprintf("%d to %d", iterations, maxIterations))
	}
	return int(n)
}

// foreignKeyslot takes a keyslot of another kind, say Argon2, as one that
// cannot be opened here; only its area matters, not to be overwritten.
func foreignKeyslot(s *member, id string) keyslot {
	var unusable, err error
	k := readKeyslot(newMember(s.path, s.in, &unusable), id, true)
	if unusable == nil {
		return k
	}
	area := newMember(s.path, s.in, &err).object("area")
	k = keyslot{id: id, area: area.decimal("offset"), areaSize: area.decimal("size"), unusable: unusable}
	if err != nil && *s.err == nil {
		*s.err = err
	}
	return k
}

func (m *metadata) segment(segments *member, foreign bool) {
	if n := len(segments.in); n != 1 {
		segments.fail("*", fmt.Sprintf("%d segments", n), "one")
		return
	}
	s := segments.object("0")
	s.want("type", "crypt")
	s.want("encryption", cipherName)
	s.wantInt("sector_size", SectorSize)
	s.want("size", "dynamic")
	s.want("iv_tweak", "0")
	m.offset = s.decimal("offset")
	if !foreign && m.offset != DataOffset {
		s.fail("offset", strconv.FormatUint(m.offset, 10), strconv.Itoa(DataOffset))
	}
	if m.offset < m.areasEnd || m.offset%SectorSize != 0 || m.offset > 1<<50 {
		s.fail("offset", strconv.FormatUint(m.offset, 10), "behind the keyslots, a multiple of 4096")
	}
	s.done()
	segments.done()
}

func (m *metadata) digests(digests *member, foreign bool) {
	names := digests.names()
	if len(names) != 1 {
		digests.fail("*", fmt.Sprintf("%d digests", len(names)), "one")
		return
	}
	d := digests.object(names[0])
	d.want("type", "pbkdf2")
	d.want("hash", hashName)
	m.digest.iterations = readIterations(d, foreign)
	m.digest.salt = d.base64("salt", saltSize)
	m.digest.sum = d.base64("digest", digestSize)
	if got := d.ids("segments"); !slices.Equal(got, []string{"0"}) {
		d.fail("segments", fmt.Sprintf("%.60q", got), `["0"]`)
	}
	if got := d.ids("keyslots"); !sameNames(got, m.slotIDs()) {
		d.fail("keyslots", fmt.Sprintf("%.60q", got), "every keyslot")
	}
	d.done()
	digests.done()
}

func (m *metadata) slotIDs() []string {
	ids := make([]string, len(m.slots))
	for i, s := range m.slots {
		ids[i] = s.id
	}
	return ids
}

func sameNames(a, b []string) bool {
	a, b = slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b))
	return slices.Equal(a, b)
}
