//go:build (amd64 || arm64) && !purego

package xts

import (
	"encoding/binary"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// maxRounds is the number of rounds of AES-256.
const maxRounds = 14

// schedule holds the expanded keys of one Cipher, as all assembly kernels
// read them (offsets 0, 128, 368 and 608). It lives outside the Go heap: the
// collector neither moves nor copies it.
type schedule struct {
	wide  [2][4][BlockSize]byte          // the first and the last of enc, as often as a zmm register holds it
	enc   [maxRounds + 1][BlockSize]byte // round keys of the data key
	dec   [maxRounds + 1][BlockSize]byte // of the equivalent inverse cipher, FIPS 197 5.3.5
	tweak [maxRounds + 1][BlockSize]byte // round keys of the tweak key
}

// newSchedule expands the keys into a page of its own: locked if the limit
// RLIMIT_MEMLOCK allows, left out of core files.
func newSchedule(data, tweak []byte) (*schedule, error) {
	mem, err := unix.Mmap(-1, 0, int(unsafe.Sizeof(schedule{})), unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return nil, fmt.Errorf("mapping memory for the round keys: %w", err)
	}
	if err := unix.Madvise(mem, unix.MADV_DONTDUMP); err != nil {
		_ = unix.Munmap(mem) // the first error is the one to tell
		return nil, fmt.Errorf("keeping the round keys out of core files: %w", err)
	}
	_ = unix.Mlock(mem) // a small limit must not stop the drive; the appliance has no swap
	s := (*schedule)(unsafe.Pointer(unsafe.SliceData(mem)))
	expandKey(&s.enc, data)
	expandKey(&s.tweak, tweak)
	invert(&s.dec, &s.enc, rounds(data))
	for i := range s.wide[0] {
		s.wide[0][i], s.wide[1][i] = s.enc[0], s.enc[rounds(data)]
	}
	return s, nil
}

// free wipes the round keys and gives the page back.
func (s *schedule) free() {
	*s = schedule{}
	mem := unsafe.Slice((*byte)(unsafe.Pointer(s)), unsafe.Sizeof(*s))
	if err := unix.Munmap(mem); err != nil {
		panic("xts: unmapping the round keys: " + err.Error()) // only a bug here can do that
	}
}

// rounds returns 10 for a 16-byte key, 14 for a 32-byte key.
func rounds(key []byte) int { return len(key)/4 + 6 }

// expandKey is FIPS 197 5.2. The table of SubWord is the processor's, so that
// no address depends on the key.
func expandKey(w *[maxRounds + 1][BlockSize]byte, key []byte) {
	nk := len(key) / 4
	copy(w[0][:], key[:16])
	copy(w[1][:], key[16:])
	word := func(i int) []byte { return w[i/4][i%4*4 : i%4*4+4] }
	rcon := uint32(1)
	for i := nk; i < 4*(rounds(key)+1); i++ {
		t := binary.LittleEndian.Uint32(word(i - 1))
		switch {
		case i%nk == 0:
			t = subWord(t>>8|t<<24) ^ rcon
			rcon = rcon<<1 ^ rcon>>7*0x11b
		case nk > 6 && i%nk == 4:
			t = subWord(t)
		}
		binary.LittleEndian.PutUint32(word(i), t^binary.LittleEndian.Uint32(word(i-nk)))
	}
}

// invert makes the round keys of the equivalent inverse cipher: in reverse
// order, the middle ones through InvMixColumns.
func invert(dec, enc *[maxRounds + 1][BlockSize]byte, rounds int) {
	dec[0], dec[rounds] = enc[rounds], enc[0]
	for i := 1; i < rounds; i++ {
		invMixColumns(&dec[i], &enc[rounds-i])
	}
}

// subWord applies the S-box to each byte of w.
func subWord(w uint32) uint32

// invMixColumns sets dst to InvMixColumns(src).
//
//go:noescape
func invMixColumns(dst, src *[BlockSize]byte)
