package xts

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"math/bits"
	"os"
	"runtime"
	"strings"
	"testing"
)

// TestCloseWipesKeySchedules looks for the round keys in the whole memory of
// this process: they are there while the Cipher is open, and nowhere after
// Close.
func TestCloseWipesKeySchedules(t *testing.T) {
	eachImpl(t, func(t *testing.T, impl string) {
		key := randBytes(random(t, 20), 64)
		needles := maskedRoundKeys(key)
		im, err := find(impl)
		if err != nil {
			t.Fatal(err)
		}
		c, err := newCipher(im, key, Options{SectorSize: 512})
		if err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 8192)
		c.Encrypt(buf, buf, 1)
		c.Decrypt(buf, buf, 1)
		open := countInMemory(t, needles)
		c.Close()
		closed := countInMemory(t, needles)
		for name := range needles {
			if open[name] == 0 {
				t.Errorf("the %s is not found while the cipher is open: the test sees nothing", name)
			}
			if closed[name] != 0 {
				t.Errorf("the %s stands in memory %d times after Close", name, closed[name])
			}
		}
	})
}

const mask = 0xa5

// maskedRoundKeys returns parts of both schedules, masked so that the search
// does not find itself: round keys 5 and 6, and the last one.
func maskedRoundKeys(key []byte) map[string][]byte {
	half := len(key) / 2
	needles := map[string][]byte{}
	for name, k := range map[string][]byte{"data key": key[:half], "tweak key": key[half:]} {
		w := textbookSchedule(k)
		for i := range w {
			w[i] ^= mask
		}
		needles["middle of the "+name] = w[80:112]
		needles["end of the "+name] = w[len(w)-16:]
	}
	return needles
}

// countInMemory counts each needle in all writable memory of the process, in
// the order of FIPS 197 and with the bytes of each word reversed, as code
// that keeps words has them.
func countInMemory(t *testing.T, needles map[string][]byte) map[string]int {
	t.Helper()
	runtime.GC()
	found := map[string]int{}
	mem, err := os.Open("/proc/self/mem")
	if err != nil {
		t.Fatal(err)
	}
	defer mem.Close()
	maps, err := os.Open("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	defer maps.Close()
	chunk := make([]byte, 1<<20)
	for s := bufio.NewScanner(maps); s.Scan(); {
		var lo, hi uint64
		var perm string
		if _, err := fmt.Sscanf(s.Text(), "%x-%x %s", &lo, &hi, &perm); err != nil {
			t.Fatalf("%q: %v", s.Text(), err)
		}
		if !strings.HasPrefix(perm, "rw") || strings.Contains(s.Text(), "[v") {
			continue
		}
		for at := lo; at < hi; at += uint64(len(chunk) - 64) {
			n, err := mem.ReadAt(chunk[:min(uint64(len(chunk)), hi-at)], int64(at))
			if err != nil && n == 0 {
				break // unmapped meanwhile
			}
			for name, m := range needles {
				found[name] += count(chunk[:n], m)
			}
			clear(chunk)
		}
	}
	return found
}

// empty is passed over: most memory of a process is.
var empty [4096]byte

// count returns how often the masked needle stands in b at a multiple of
// four.
func count(b, m []byte) (n int) {
	const masks = mask * 0x01010101
	first := binary.LittleEndian.Uint32(m)
	flipped := bits.ReverseBytes32(first)
	for i := 0; i+len(m) <= len(b); i += 4 {
		if i%len(empty) == 0 && bytes.HasPrefix(b[i:], empty[:]) {
			i += len(empty) - 4
			continue
		}
		w := binary.LittleEndian.Uint32(b[i:]) ^ masks
		if w == first && matches(b[i:], m, 0) || w == flipped && matches(b[i:], m, 3) {
			n++
		}
	}
	return n
}

// matches compares with the bytes in the order of FIPS 197, or with those of
// each word reversed if flip is 3.
func matches(b, m []byte, flip int) bool {
	for i := range m {
		if b[i^flip]^mask != m[i] {
			return false
		}
	}
	return true
}

// textbookSchedule is FIPS 197 5.2, with an S-box computed from its
// definition: independent of the code under test.
func textbookSchedule(key []byte) []byte {
	nk := len(key) / 4
	w := append(make([]byte, 0, 240), key...) // one array: nothing is left behind
	rcon := byte(1)
	for i := nk; i < 4*(nk+7); i++ {
		t := [4]byte(w[4*i-4:])
		if i%nk == 0 {
			t = [4]byte{sbox(t[1]) ^ rcon, sbox(t[2]), sbox(t[3]), sbox(t[0])}
			rcon = double8(rcon)
		} else if nk > 6 && i%nk == 4 {
			t = [4]byte{sbox(t[0]), sbox(t[1]), sbox(t[2]), sbox(t[3])}
		}
		for j := range t {
			w = append(w, w[4*(i-nk)+j]^t[j])
		}
	}
	return w
}

// sbox is FIPS 197 5.1.1: the inverse in GF(2^8), that is x^254, and an affine
// map.
func sbox(x byte) byte {
	inv := byte(1)
	for range 254 {
		inv = mul8(inv, x)
	}
	r := inv
	for i := 1; i <= 4; i++ {
		r ^= bits.RotateLeft8(inv, i)
	}
	return r ^ 0x63
}

func mul8(a, b byte) (p byte) {
	for ; b != 0; b >>= 1 {
		if b&1 != 0 {
			p ^= a
		}
		a = double8(a)
	}
	return p
}

func double8(a byte) byte { return a<<1 ^ a>>7*0x1b }
