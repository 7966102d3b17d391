package blockcrypt_test

import (
	"testing"

	"sealbay/blockcrypt"
	"sealbay/blockcrypt/blockdev/direct"
	"sealbay/blockcrypt/blocktest"
)

// BenchmarkHeader is what a node pays per drive at start (Open) and for a
// rotation of its key (Rotate: add, verify, kill, verify), on a file in
// memory, so without the drive's own flushes.
func BenchmarkHeader(b *testing.B) {
	d, err := direct.Open(blocktest.File(b, blocktest.Tmpfs(b), 32<<20), direct.Options{})
	check(b, err)
	b.Cleanup(func() { check(b, d.Close()) })
	_, err = blockcrypt.Format(d, keyA, blockcrypt.FormatOptions{Key: local})
	check(b, err)
	b.Run("Open", func(b *testing.B) {
		for b.Loop() {
			v, err := blockcrypt.Open(d, keyA, blockcrypt.OpenOptions{})
			check(b, err)
			check(b, v.Close())
		}
	})
	b.Run("Rotate", func(b *testing.B) {
		kek, next := keyA, keyB
		for b.Loop() {
			check(b, blockcrypt.AddKey(d, kek, next, kms))
			check(b, blockcrypt.Verify(d, next))
			check(b, blockcrypt.KillKey(d, next, kek))
			check(b, blockcrypt.Verify(d, next))
			kek, next = next, kek
		}
	})
}
