package bundle_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"

	"sealbay/keyring"
	"sealbay/keyring/bundle"
)

// cheap keeps the tests short; the real cost is tried once.
var cheap = bundle.Cost{Time: 1, MemoryKiB: 64, Threads: 1}

const pass = "correct horse battery"

func passphrase(t testing.TB, p string) *bundle.Secret {
	t.Helper()
	s, err := bundle.Passphrase([]byte(p), cheap)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func keyFile(t testing.TB, fill byte) *bundle.Secret {
	t.Helper()
	s, err := bundle.KeyFile(bytes.Repeat([]byte{fill}, 32))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

var (
	key     = keyring.Ref{Type: keyring.Local, ID: keyring.ID{1, 2, 3}}
	content = []struct {
		name string
		data []byte
	}{
		{"drives.json", []byte(`{"drives":[]}`)},
		{"empty", nil},
		{"header/4711", bytes.Repeat([]byte("LUKS header "), 20000)}, // several packages of the stream
		{"master.key", bytes.Repeat([]byte{0xA7}, 32)},
	}
)

func write(t testing.TB, s *bundle.Secret) []byte {
	t.Helper()
	var parts []bundle.Part
	for _, c := range content {
		parts = append(parts, bundle.Part{Name: c.name, Size: int64(len(c.data)), Body: bytes.NewReader(c.data)})
	}
	var out bytes.Buffer
	if err := bundle.Write(&out, s, bundle.Manifest{Node: "node-1", Epoch: 3, Key: key}, parts); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestRoundTrip(t *testing.T) {
	for name, s := range map[string]*bundle.Secret{"passphrase": passphrase(t, pass), "key file": keyFile(t, 5)} {
		sealed := write(t, s)
		for _, c := range content {
			if len(c.data) > 8 && bytes.Contains(sealed, c.data[:8]) || bytes.Contains(sealed, []byte(c.name)) {
				t.Errorf("%s: part %q stands in the file", name, c.name)
			}
		}
		i := 0
		m, err := bundle.Read(iotest.HalfReader(bytes.NewReader(sealed)), s, func(m bundle.Manifest, p bundle.Info, body io.Reader) error {
			if i == 2 { // a part that is not read is skipped
				i++
				return nil
			}
			got, err := io.ReadAll(body)
			if err != nil || p.Name != content[i].name || !bytes.Equal(got, content[i].data) {
				t.Errorf("%s: part %d is %q with %d bytes, %v", name, i, p.Name, len(got), err)
			}
			i++
			return nil
		})
		if err != nil || i != len(content) || m.Epoch != 3 || m.Key != key || m.Node != "node-1" || m.Created.IsZero() {
			t.Errorf("%s: %+v, %d parts, %v", name, m, i, err)
		}
	}
}

func TestTwoBundlesShareNothing(t *testing.T) {
	s := keyFile(t, 5)
	a, b := write(t, s), write(t, s)
	if bytes.Equal(a[24:56], b[24:56]) || bytes.Equal(a[200:300], b[200:300]) {
		t.Error("salt or stream repeats")
	}
}

func TestWrongSecret(t *testing.T) {
	byPass, byFile := write(t, passphrase(t, pass)), write(t, keyFile(t, 5))
	for name, c := range map[string]struct {
		sealed []byte
		secret *bundle.Secret
		say    string
	}{
		"other passphrase":        {byPass, passphrase(t, pass+"!"), "does not open"},
		"other key file":          {byFile, keyFile(t, 6), "does not open"},
		"file for a passphrase":   {byPass, keyFile(t, 5), "it was sealed with a passphrase, not with a key file"},
		"passphrase for key file": {byFile, passphrase(t, pass), "it was sealed with a key file, not with a passphrase"},
	} {
		_, err := bundle.Read(bytes.NewReader(c.sealed), c.secret, nil)
		if !errors.Is(err, bundle.ErrWrongSecret) || !strings.Contains(err.Error(), c.say) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Every flipped bit is found, and said to be one: never a wrong passphrase,
// but in the 32 bytes that prove the passphrase.
func TestFlippedBits(t *testing.T) {
	s := keyFile(t, 5)
	good := write(t, s)
	places := []int{}
	for i := range 8 * 160 {
		places = append(places, i)
	}
	for range 300 {
		places = append(places, rand.IntN(8*len(good)))
	}
	for _, bit := range places {
		b := bytes.Clone(good)
		b[bit/8] ^= 1 << (bit % 8)
		_, err := bundle.Read(bytes.NewReader(b), s, nil)
		want := bundle.ErrDamaged
		switch {
		case bit < 8*8:
			want = bundle.ErrNotBundle
		case bit >= 8*96 && bit < 8*128:
			want = bundle.ErrWrongSecret
		}
		if !errors.Is(err, want) {
			t.Fatalf("bit %d of byte %d: %v, want %v", bit%8, bit/8, err, want)
		}
	}
}

func TestTruncated(t *testing.T) {
	s := keyFile(t, 5)
	good := write(t, s)
	for _, n := range []int{0, 1, 7, 8, 100, 127, 128, 140, 1000, 128 + 65536 + 32, len(good) / 2, len(good) - 1} {
		_, err := bundle.Read(bytes.NewReader(good[:n]), s, nil)
		if !errors.Is(err, bundle.ErrTruncated) {
			t.Errorf("%d of %d bytes: %v", n, len(good), err)
		}
	}
	if _, err := bundle.Read(bytes.NewReader(append(bytes.Clone(good), 0)), s, nil); !errors.Is(err, bundle.ErrDamaged) {
		t.Errorf("one byte more: %v", err)
	}
}

func TestNotABundle(t *testing.T) {
	s := keyFile(t, 5)
	for _, b := range [][]byte{[]byte("PK\x03\x04"), bytes.Repeat([]byte("x"), 500)} {
		if _, err := bundle.Read(bytes.NewReader(b), s, nil); !errors.Is(err, bundle.ErrNotBundle) {
			t.Errorf("%.8q: %v", b, err)
		}
	}
	failing := io.MultiReader(bytes.NewReader(write(t, s)[:500]), iotest.ErrReader(errors.New("I/O error")))
	if _, err := bundle.Read(failing, s, nil); err == nil || !strings.Contains(err.Error(), "I/O error") {
		t.Errorf("a file that cannot be read: %v", err)
	}
}

// forge changes the header and makes its checksum right again.
func forge(b []byte, off int, v uint32) []byte {
	b = bytes.Clone(b)
	binary.BigEndian.PutUint32(b[off:], v)
	sum := sha256.Sum256(b[:64])
	copy(b[64:], sum[:])
	return b
}

func TestForgedHeader(t *testing.T) {
	s := passphrase(t, pass)
	good := write(t, s)
	for name, c := range map[string]struct {
		b    []byte
		want error
	}{
		"64 GiB for argon2id": {forge(good, 16, 64<<20), bundle.ErrDamaged},
		"no passes":           {forge(good, 12, 0), bundle.ErrDamaged},
		"a thousand threads":  {forge(good, 20, 1000), bundle.ErrDamaged},
		"cheaper":             {forge(good, 16, 32), bundle.ErrWrongSecret},
		"other salt":          {forge(good, 24, 7), bundle.ErrWrongSecret},
		"other length":        {forge(good, 60, uint32(len(good)-1)), bundle.ErrWrongSecret},
		"third kind":          {forge(good, 8, 1<<16|3), bundle.ErrDamaged},
		"version 2":           {forge(good, 8, 2<<16|1), bundle.ErrVersion},
	} {
		if _, err := bundle.Read(bytes.NewReader(c.b), s, nil); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func TestStale(t *testing.T) {
	s := keyFile(t, 5)
	m, err := bundle.Read(bytes.NewReader(write(t, s)), s, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Stale(3, key); err != nil {
		t.Error(err)
	}
	newer := keyring.Ref{Type: keyring.KMS, ID: keyring.ID{9}, KeyID: "abcd"}
	err = m.Stale(4, newer)
	if !errors.Is(err, bundle.ErrOld) {
		t.Fatal(err)
	}
	for _, part := range []string{"number 3", "number 4", "KMS key abcd", "keyring_backup"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not say %q", err, part)
		}
	}
	if err := m.Stale(3, newer); !errors.Is(err, bundle.ErrOld) {
		t.Errorf("another key of the same number: %v", err)
	}
}

func TestSecretLimits(t *testing.T) {
	for name, err := range map[string]error{
		"short passphrase": second(bundle.Passphrase([]byte("short"), cheap)),
		"newlines only":    second(bundle.Passphrase([]byte(strings.Repeat("\n", 20)), cheap)),
		"short key file":   second(bundle.KeyFile(make([]byte, 31))),
		"huge key file":    second(bundle.KeyFile(make([]byte, 65<<10))),
		"no memory":        second(bundle.Passphrase([]byte(pass), bundle.Cost{Time: 1, MemoryKiB: 1, Threads: 1})),
	} {
		if err == nil || strings.Contains(err.Error(), "short\x00") {
			t.Errorf("%s: %v", name, err)
		}
	}
	raw := []byte(pass + "\n")
	s, err := bundle.Passphrase(raw, cheap)
	if err != nil || bytes.Contains(raw, []byte("horse")) {
		t.Errorf("%v, the caller's bytes are %q", err, raw)
	}
	if _, err := bundle.Read(bytes.NewReader(write(t, passphrase(t, pass))), s, nil); err != nil {
		t.Errorf("with a newline behind it: %v", err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		if out := fmt.Sprintf(verb, s); strings.Contains(out, "horse") || strings.Contains(out, "104 111") {
			t.Errorf("%s prints %s", verb, out)
		}
	}
	s.Close()
	if _, err := bundle.Read(bytes.NewReader(write(t, passphrase(t, pass))), s, nil); !errors.Is(err, keyring.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

func second[T any](_ T, err error) error { return err }

func TestPartOfAnotherSize(t *testing.T) {
	s := keyFile(t, 5)
	for name, size := range map[string]int64{"shorter": 4, "longer": 6} {
		p := []bundle.Part{{Name: "x", Size: size, Body: strings.NewReader("12345")}}
		if err := bundle.Write(io.Discard, s, bundle.Manifest{}, p); err == nil || !strings.Contains(err.Error(), `part "x"`) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestVisitorsError(t *testing.T) {
	s, stop := keyFile(t, 5), errors.New("disk full")
	_, err := bundle.Read(bytes.NewReader(write(t, s)), s, func(bundle.Manifest, bundle.Info, io.Reader) error { return stop })
	if err != stop {
		t.Errorf("%v", err)
	}
}

func TestDefaultCost(t *testing.T) {
	s, err := bundle.Passphrase([]byte(pass), bundle.Cost{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := bundle.Read(bytes.NewReader(write(t, s)), s, nil); err != nil {
		t.Error(err)
	}
}

func FuzzRead(f *testing.F) {
	s := keyFile(f, 5)
	good := write(f, s)
	f.Add(good[:200])
	f.Add(good[:128])
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) >= 96 {
			sum := sha256.Sum256(b[:64])
			copy(b[64:], sum[:])
		}
		if _, err := bundle.Read(bytes.NewReader(b), s, nil); err == nil {
			t.Error("a forged bundle was accepted")
		}
	})
}
