package keyring

import (
	"bytes"
	"encoding/gob"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"reflect"
	"regexp"
	"strings"
	"sync"
	"testing"
	"unsafe"
)

func testKey(t *testing.T, fill byte) *MasterKey {
	t.Helper()
	k, err := NewMasterKey(bytes.Repeat([]byte{fill}, KeySize))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { k.Close() })
	return k
}

func TestMasterKeyTakesOverRaw(t *testing.T) {
	raw := bytes.Repeat([]byte{7}, KeySize)
	k, err := NewMasterKey(raw)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(raw, make([]byte, KeySize)) {
		t.Error("the caller's bytes were not wiped")
	}
	var inside []byte
	if err := k.Use(func(b []byte) error { inside = bytes.Clone(b); return nil }); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(inside, bytes.Repeat([]byte{7}, KeySize)) {
		t.Errorf("key bytes are %x", inside)
	}
	if err := errors.Join(k.Close(), k.Close()); err != nil {
		t.Fatal(err)
	}
	if err := k.Use(func([]byte) error { return nil }); !errors.Is(err, ErrClosed) {
		t.Errorf("Use after Close: %v", err)
	}
}

func TestMasterKeyLength(t *testing.T) {
	for _, n := range []int{0, 16, 31, 33, 64} {
		_, err := NewMasterKey(make([]byte, n))
		if !errors.Is(err, ErrKeyLength) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	_, err := NewMasterKey(make([]byte, 16))
	if err == nil || !strings.Contains(err.Error(), "key is 128 bits, need 256") {
		t.Errorf("16 bytes: %v", err)
	}
}

// Everything that prints or encodes must show the fingerprint and no byte of
// the key in any notation.
func TestMasterKeyNeverPrints(t *testing.T) {
	k := testKey(t, 0xA7)
	outer := struct {
		Name string
		Key  *MasterKey
		Val  MasterKey
		priv *MasterKey
	}{"x", k, *k, k}
	var out strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%o", "%b", "%c", "%U", "%t", "%e", "%p", "%T"} {
		fmt.Fprintf(&out, verb+"\n", k)
		fmt.Fprintf(&out, verb+"\n", *k)
		fmt.Fprintf(&out, verb+"\n", outer)
		fmt.Fprintf(&out, verb+"\n", &outer)
	}
	for _, enc := range []func() error{
		func() error { return json.NewEncoder(&out).Encode(outer) },
		func() error { return xml.NewEncoder(&out).Encode(k) },
		func() error { return gob.NewEncoder(&out).Encode(k) },
	} {
		if err := enc(); err != nil {
			t.Error(err)
		}
	}
	slog.New(slog.NewTextHandler(&out, nil)).Info("k", "key", k, "outer", outer)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("k", "key", k, "outer", outer)
	fmt.Fprintln(&out, errors.New(k.String()), k, fmt.Errorf("%w: %v", ErrClosed, k))
	all := out.String()
	for _, leak := range []string{"a7a7", "A7A7", "167 167", "247 247", "\xa7\xa7", "p6en", "10100111 1"} {
		if strings.Contains(all, leak) {
			t.Errorf("output holds key bytes as %q:\n%s", leak, all)
		}
	}
	if n := strings.Count(all, k.ID().String()); n < 30 {
		t.Errorf("the fingerprint was printed %d times only:\n%s", n, all)
	}
}

func TestMasterKeyIsNotComparable(t *testing.T) {
	if reflect.TypeFor[MasterKey]().Comparable() {
		t.Error("MasterKey can be compared with ==, which is not constant time")
	}
}

// Reflection, as dump packages use it, must not reach the bytes.
func TestReflectionStopsAtTheVault(t *testing.T) {
	k := testKey(t, 0xA7)
	var walk func(v reflect.Value, path string)
	walk = func(v reflect.Value, path string) {
		switch v.Kind() {
		case reflect.Pointer, reflect.Interface:
			if !v.IsNil() {
				walk(v.Elem(), path+"*")
			}
		case reflect.Struct:
			for i := range v.NumField() {
				walk(v.Field(i), path+"."+v.Type().Field(i).Name)
			}
		case reflect.Slice, reflect.Array:
			for i := range v.Len() {
				if v.Index(i).Kind() == reflect.Uint8 && v.Index(i).Uint() == 0xA7 && v.Len() >= 16 {
					t.Fatalf("reflection reached a key byte at %s[%d]", path, i)
				}
			}
		case reflect.Func, reflect.Uint8, reflect.String:
		default:
			t.Errorf("field %s of kind %s: is it safe?", path, v.Kind())
		}
	}
	walk(reflect.ValueOf(k), "k")
}

func TestMasterKeyEqual(t *testing.T) {
	a, b, c := testKey(t, 1), testKey(t, 1), testKey(t, 2)
	if !a.Equal(b) || !a.Equal(a) || a.Equal(c) {
		t.Error("Equal does not compare the bytes")
	}
	if a.ID() != b.ID() || a.ID() == c.ID() {
		t.Error("fingerprints do not follow the bytes")
	}
	b.Close()
	if a.Equal(b) || b.Equal(a) || b.Equal(b) {
		t.Error("a closed key equals something")
	}
}

func TestGeneratedKeysDiffer(t *testing.T) {
	seen := map[ID]bool{}
	for range 16 {
		k, err := GenerateMasterKey()
		if err != nil {
			t.Fatal(err)
		}
		if seen[k.ID()] {
			t.Fatalf("%v twice", k)
		}
		seen[k.ID()] = true
		k.Close()
	}
}

func TestFingerprintDomain(t *testing.T) {
	if len(idDomain) != 64 {
		t.Errorf("the domain has %d bytes, want a block of SHA-256: wipeable key bytes depend on it", len(idDomain))
	}
	// sha256(idDomain || 32 times 0x01), computed with sha256sum(1).
	if got := testKey(t, 1).ID().String(); got != wantFingerprint {
		t.Errorf("fingerprint of 01...01 is %s, want %s: journals and logs of old versions would not match", got, wantFingerprint)
	}
}

func TestIDText(t *testing.T) {
	id := testKey(t, 3).ID()
	var back ID
	if err := back.UnmarshalText([]byte(id.String())); err != nil || back != id {
		t.Errorf("%v came back as %v, %v", id, back, err)
	}
	for _, bad := range []string{"", "12", "zz00000000000000", id.String()[:15]} {
		if err := back.UnmarshalText([]byte(bad)); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
	if err := back.UnmarshalText([]byte(hex.EncodeToString(make([]byte, 9)))); err == nil {
		t.Error("9 bytes were accepted")
	}
}

// The kernel's own word, in smaps, that the page is locked, not dumped, not
// inherited.
func TestBufferFlags(t *testing.T) {
	b, err := NewBuffer(KeySize)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	flags := vmFlags(t, uintptr(unsafe.Pointer(&b.Bytes()[0])))
	for _, f := range []string{"lo", "dd", "dc"} { // locked, do not dump, do not copy on fork
		if !strings.Contains(" "+flags+" ", " "+f+" ") {
			t.Errorf("VmFlags %q lack %s", flags, f)
		}
	}
}

func vmFlags(t *testing.T, addr uintptr) string {
	smaps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	head := regexp.MustCompile(`^([0-9a-f]+)-([0-9a-f]+) `)
	inside := false
	for line := range strings.Lines(string(smaps)) {
		if m := head.FindStringSubmatch(line); m != nil {
			var lo, hi uintptr
			fmt.Sscanf(m[1]+" "+m[2], "%x %x", &lo, &hi)
			inside = lo <= addr && addr < hi
		}
		if f, ok := strings.CutPrefix(line, "VmFlags: "); ok && inside {
			return strings.TrimSpace(f)
		}
	}
	t.Fatal("no mapping holds the buffer")
	return ""
}

func TestUseAndCloseTogether(t *testing.T) {
	k, other := testKey(t, 5), testKey(t, 6)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 200 {
				err := k.Use(func(b []byte) error {
					if b[0] != 5 || b[31] != 5 {
						return errors.New("wiped while in use")
					}
					return nil
				})
				if err != nil && !errors.Is(err, ErrClosed) {
					t.Error(err)
				}
				k.Equal(other)
				other.Equal(k)
			}
		})
	}
	wg.Go(func() { k.Close() })
	wg.Wait()
}

func TestStatusOf(t *testing.T) {
	for _, c := range []struct {
		t    Type
		err  error
		want Status
	}{
		{Local, nil, "Encrypted"},
		{KMS, nil, "KMS Available"},
		{Local, ErrNoKey, "Not Encrypted"},
		{Local, ErrCorrupt, "Configuration Corrupted"},
		{KMS, ErrCorrupt, "Configuration Corrupted"},
		{KMS, fmt.Errorf("x: %w", ErrKeyLength), "Configuration Corrupted"},
		{KMS, ErrAuth, "KMS Authentication Error"},
		{KMS, ErrUnreachable, "Cannot connect to KMS server."},
		{KMS, errors.New("?"), "Cannot connect to KMS server."},
		{Local, errors.New("?"), "Configuration Corrupted"},
		{KMS, ErrKeyNotFound, "KMS Key Not Found"},
		{KMS, ErrKeyInactive, "KMS Key Inactive"},
	} {
		if got := StatusOf(c.t, c.err); got != c.want {
			t.Errorf("StatusOf(%s, %v) = %q, want %q", c.t, c.err, got, c.want)
		}
	}
}

const wantFingerprint = "c622e0ee08d6f7da"
