package luks2

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"strings"
	"testing"

	"sealbay/blockcrypt/blockdev"
	"sealbay/blockcrypt/blocktest"
)

var (
	keyA  = bytes.Repeat([]byte{0xa1}, KEKSize)
	keyB  = bytes.Repeat([]byte{0xb2}, KEKSize)
	keyC  = bytes.Repeat([]byte{0xc3}, KEKSize)
	local = KeyInfo{Epoch: 1, Store: StoreLocal}
	kms   = KeyInfo{Epoch: 2, Store: StoreKMS, KMIPKeyID: `a "key\id"/7`}
)

// drive makes a drive in memory and plain access to it.
func drive(t testing.TB, m *blocktest.Memory) *blockdev.Sync {
	t.Helper()
	s, err := blockdev.NewSync(m)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { check(t, s.Close()) })
	return s
}

func created(t testing.TB) *blockdev.Sync {
	t.Helper()
	s := drive(t, blocktest.New(MinSize, blocktest.Options{}))
	check(t, Create(s, keyA, CreateOptions{Label: "bay 3", Key: local}))
	return s
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantErr(t testing.TB, err, want error, text string) {
	t.Helper()
	if !errors.Is(err, want) || !strings.Contains(err.Error(), text) {
		t.Fatalf("got error %v, want %v with %q", err, want, text)
	}
	if strings.Contains(err.Error(), "\n") {
		t.Fatalf("error has more than one line: %v", err)
	}
}

// open returns the volume key as the given KEK gets at it.
func open(dev Device, kek []byte, foreign bool) ([]byte, error) {
	h, err := Load(dev, foreign)
	if err != nil {
		return nil, err
	}
	secret, err := SlotSecret(kek, h.UUID())
	if err != nil {
		return nil, err
	}
	key, err := h.Unlock(dev, secret)
	if err != nil {
		return nil, err
	}
	defer key.Close()
	return bytes.Clone(key.Bytes()), nil
}

// forge replaces text in both copies' JSON and mends their checksums, as a
// thief without the volume key can.
func forge(t testing.TB, dev Device, old, new string) {
	t.Helper()
	for i := range 2 {
		b := readAt(t, dev, int64(i)*HeaderSize, HeaderSize)
		json := string(bytes.TrimRight(b[binarySize:], "\x00"))
		if !strings.Contains(json, old) {
			t.Fatalf("no %q in %s", old, json)
		}
		clear(b[binarySize:])
		copy(b[binarySize:], strings.Replace(json, old, new, 1))
		rechecksum(b)
		writeAt(t, dev, b, int64(i)*HeaderSize)
	}
}

// forgeBinary changes the binary part of both copies likewise.
func forgeBinary(t testing.TB, dev Device, change func(b []byte)) {
	t.Helper()
	for i := range 2 {
		b := readAt(t, dev, int64(i)*HeaderSize, HeaderSize)
		change(b)
		rechecksum(b)
		writeAt(t, dev, b, int64(i)*HeaderSize)
	}
}

func rechecksum(b []byte) {
	clear(b[offChecksum:offEnd])
	sum := sha256.Sum256(b)
	copy(b[offChecksum:], sum[:])
}

// flip inverts one bit of the drive.
func flip(t testing.TB, dev Device, off int64) {
	t.Helper()
	b := readAt(t, dev, off&^4095, 4096)
	b[off&4095] ^= 1
	writeAt(t, dev, b, off&^4095)
}

func readAt(t testing.TB, dev Device, off int64, n int) []byte {
	t.Helper()
	b := make([]byte, n)
	_, err := dev.ReadAt(b, off)
	check(t, err)
	return b
}

func writeAt(t testing.TB, dev Device, b []byte, off int64) {
	t.Helper()
	_, err := dev.WriteAt(b, off)
	check(t, err)
}

func headers(t testing.TB, dev Device) []byte { return readAt(t, dev, 0, 2*HeaderSize) }
