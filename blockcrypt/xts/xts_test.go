package xts

import (
	"bytes"
	"crypto/aes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	xxts "golang.org/x/crypto/xts"
)

// eachImpl runs f on every implementation that this machine can run and says
// aloud which it cannot.
func eachImpl(t *testing.T, f func(t *testing.T, impl string)) {
	t.Helper()
	for _, im := range Implementations() {
		if !im.Supported {
			t.Logf("not run here: %s: %s", im.Name, im.Reason)
			continue
		}
		t.Run(im.Name, func(t *testing.T) { f(t, im.Name) })
	}
}

// newTest returns a Cipher without the check for equal halves, which some
// published vectors have.
func newTest(t testing.TB, impl string, key []byte, o Options) *Cipher {
	t.Helper()
	im, err := find(impl)
	if err != nil {
		t.Fatal(err)
	}
	e, err := im.expand(key[:len(key)/2], key[len(key)/2:])
	if err != nil {
		t.Fatal(err)
	}
	c := &Cipher{name: impl, engine: e, sector: o.SectorSize, step: o.step()}
	t.Cleanup(c.Close)
	return c
}

// random is a source of test data that replays by its seed.
func random(t testing.TB, seed uint64) *rand.ChaCha8 {
	t.Helper()
	var s [32]byte
	binary.LittleEndian.PutUint64(s[:], seed)
	return rand.NewChaCha8(s)
}

func randBytes(r *rand.ChaCha8, n int) []byte {
	b := make([]byte, n)
	_, _ = r.Read(b) // never fails (math/rand/v2)
	return b
}

// xcrypto encrypts with golang.org/x/crypto/xts, the oracle of the random
// tests.
func xcrypto(t testing.TB, key, src []byte, o Options, iv uint64) []byte {
	t.Helper()
	x, err := xxts.NewCipher(aes.NewCipher, key)
	if err != nil {
		t.Fatal(err)
	}
	dst := make([]byte, len(src))
	for i := 0; i < len(src); i += o.SectorSize {
		x.Encrypt(dst[i:i+o.SectorSize], src[i:i+o.SectorSize], iv)
		iv += o.step()
	}
	return dst
}

// wantCrypt holds one buffer against the expected ciphertext: disjoint and in
// place, both ways.
func wantCrypt(t testing.TB, c *Cipher, plain, want []byte, iv uint64) {
	t.Helper()
	got := make([]byte, len(plain))
	c.Encrypt(got, plain, iv)
	if !bytes.Equal(got, want) {
		t.Fatalf("encrypt, iv %#x, %d bytes: differs at byte %d", iv, len(plain), firstDiff(got, want))
	}
	c.Encrypt(got, bytes.Clone(plain), iv)
	c.Decrypt(got, want, iv)
	if !bytes.Equal(got, plain) {
		t.Fatalf("decrypt, iv %#x, %d bytes: differs at byte %d", iv, len(plain), firstDiff(got, plain))
	}
	c.Encrypt(got, got, iv)
	if !bytes.Equal(got, want) {
		t.Fatalf("encrypt in place, iv %#x, %d bytes: differs at byte %d", iv, len(plain), firstDiff(got, want))
	}
	c.Decrypt(got, got, iv)
	if !bytes.Equal(got, plain) {
		t.Fatalf("decrypt in place, iv %#x, %d bytes: differs at byte %d", iv, len(plain), firstDiff(got, plain))
	}
}

func firstDiff(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}

// TestAgainstXCrypto: numbers of sectors from 1 to 64, every one at 512 bytes,
// sizes that matter and odd ones, both key sizes, IVs that wrap.
func TestAgainstXCrypto(t *testing.T) {
	eachImpl(t, func(t *testing.T, impl string) {
		r := random(t, 1)
		for _, sector := range []int{16, 32, 48, 80, 128, 240, 256, 496, 512, 528, 1024, 4096, 4112} {
			for _, keyLen := range []int{32, 64} {
				o, key := Options{SectorSize: sector}, randBytes(r, keyLen)
				c := newTest(t, impl, key, o)
				for n := 1; n <= 64; n++ {
					if sector != 512 && n > 9 && n%16 > 1 {
						continue // the seams of a batch are enough
					}
					plain := randBytes(r, n*sector)
					iv := r.Uint64()
					if n%3 == 0 {
						iv = -o.step() * uint64(n/2) // wraps in the middle
					}
					wantCrypt(t, c, plain, xcrypto(t, key, plain, o, iv), iv)
				}
			}
		}
	})
}

func TestIVStep(t *testing.T) {
	for _, tc := range []struct {
		o    Options
		want uint64
	}{
		{Options{SectorSize: 16}, 1},
		{Options{SectorSize: 512}, 1},
		{Options{SectorSize: 520}, 1},
		{Options{SectorSize: 4096}, 8},
		{Options{SectorSize: 4096, IVStep: 1}, 1},
		{Options{SectorSize: 512, IVStep: 1 << 63}, 1 << 63},
	} {
		if got := tc.o.step(); got != tc.want {
			t.Errorf("%+v: step %d, want %d", tc.o, got, tc.want)
		}
	}
	eachImpl(t, func(t *testing.T, impl string) {
		r := random(t, 2)
		for _, step := range []uint64{1, 8, 1 << 32, 1 << 63, ^uint64(0)} {
			o, key := Options{SectorSize: 512, IVStep: step}, randBytes(r, 64)
			plain := randBytes(r, 40*512)
			wantCrypt(t, newTest(t, impl, key, o), plain, xcrypto(t, key, plain, o, 5), 5)
		}
	})
}

func TestNewRefuses(t *testing.T) {
	good := bytes.Repeat([]byte{1, 2, 3, 4}, 16)
	good[63] = 99
	ok := Options{SectorSize: 512}
	for _, tc := range []struct {
		name string
		key  []byte
		o    Options
		want error
	}{
		{"no key", nil, ok, ErrKeySize},
		{"AES-192", make([]byte, 48), ok, ErrKeySize},
		{"equal halves, 128", make([]byte, 32), ok, ErrEqualKeys},
		{"equal halves, 256", make([]byte, 64), ok, ErrEqualKeys},
		{"no sector", good, Options{}, ErrSectorSize},
		{"negative sector", good, Options{SectorSize: -16}, ErrSectorSize},
		{"partial block", good, Options{SectorSize: 520}, ErrSectorSize},
		{"too large", good, Options{SectorSize: MaxSectorSize + 16}, ErrSectorSize},
	} {
		if c, err := New(tc.key, tc.o); !errors.Is(err, tc.want) || c != nil {
			t.Errorf("%s: %v, want %v", tc.name, err, tc.want)
		}
	}
	if c, err := New(good, ok); err != nil {
		t.Error(err)
	} else {
		c.Close()
	}
}

func TestEnvForcesImplementation(t *testing.T) {
	key := randBytes(random(t, 3), 64)
	for _, im := range Implementations() {
		t.Setenv(Env, im.Name)
		c, err := New(key, Options{SectorSize: 512})
		switch {
		case im.Supported && err != nil:
			t.Errorf("%s: %v", im.Name, err)
		case im.Supported && c.Implementation() != im.Name:
			t.Errorf("%s forced, got %s", im.Name, c.Implementation())
		case !im.Supported && (!errors.Is(err, ErrImpl) || !strings.Contains(err.Error(), im.Reason) || !strings.Contains(err.Error(), "generic")):
			t.Errorf("%s: %v, want %v with the reason and what there is", im.Name, err, ErrImpl)
		}
	}
	t.Setenv(Env, "rot13")
	_, err := New(key, Options{SectorSize: 512})
	if !errors.Is(err, ErrImpl) {
		t.Fatalf("unknown name: %v, want %v", err, ErrImpl)
	}
	for _, want := range []string{"rot13", Env, "generic"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not name %q", err, want)
		}
	}
}

func TestPanics(t *testing.T) {
	eachImpl(t, func(t *testing.T, impl string) {
		c := newTest(t, impl, randBytes(random(t, 4), 64), Options{SectorSize: 32})
		buf := make([]byte, 128)
		wantPanic(t, "length", func() { c.Encrypt(buf[:32], buf[64:], 0) })
		wantPanic(t, "whole number", func() { c.Decrypt(buf[:48], buf[:48], 0) })
		wantPanic(t, "overlap", func() { c.Encrypt(buf[16:80], buf[:64], 0) })
		wantPanic(t, "overlap", func() { c.Decrypt(buf[:64], buf[63:127], 0) })
		c.Encrypt(nil, nil, 0)
		c.Decrypt(buf[:0], buf[128:], 0)
		if !bytes.Equal(buf, make([]byte, 128)) {
			t.Error("a refused call wrote to the buffer")
		}
		c.Close()
		c.Close()
		wantPanic(t, "closed", func() { c.Encrypt(buf, buf, 0) })
	})
}

func wantPanic(t *testing.T, text string, f func()) {
	t.Helper()
	defer func() {
		t.Helper()
		s := fmt.Sprint(recover())
		if !strings.HasPrefix(s, "xts: ") || !strings.Contains(s, text) {
			t.Errorf("panic %q, want xts: ...%s...", s, text)
		}
	}()
	f()
}

func TestNoAllocation(t *testing.T) {
	eachImpl(t, func(t *testing.T, impl string) {
		c := newTest(t, impl, randBytes(random(t, 5), 64), Options{SectorSize: 512})
		src, dst := make([]byte, 8192), make([]byte, 8192)
		if n := testing.AllocsPerRun(20, func() { c.Encrypt(dst, src, 1); c.Decrypt(dst, dst, 1) }); n != 0 {
			t.Errorf("%v allocations a call", n)
		}
	})
}
