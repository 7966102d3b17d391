package xts

import (
	"bytes"
	"testing"
)

// FuzzImplementations holds every implementation against the reference: the
// key, the IV and its step, the sector size in blocks, how the buffers lie.
func FuzzImplementations(f *testing.F) {
	f.Add(make([]byte, 64), uint64(0), uint64(1), uint16(32), uint8(0), []byte("512-byte sectors"))
	f.Add(bytes.Repeat([]byte{7}, 32), ^uint64(0), uint64(8), uint16(256), uint8(0x35), []byte("4096-byte sectors, IV that wraps"))
	f.Add([]byte("short"), uint64(1)<<63, uint64(1)<<62, uint16(33), uint8(0xff), []byte("a turn and a block"))
	f.Fuzz(func(t *testing.T, key []byte, iv, step uint64, blocks uint16, place uint8, seed []byte) {
		o := Options{SectorSize: BlockSize * (1 + int(blocks)%300), IVStep: step}
		n := 1 + len(seed)*7%70
		key = stretch(key, 32+32*(len(key)/32%2))
		plain := stretch(seed, n*o.SectorSize)
		ref := newTest(t, "generic", key, o)
		cipher, back := make([]byte, len(plain)), make([]byte, len(plain))
		ref.Encrypt(cipher, plain, iv)
		ref.Decrypt(back, plain, iv)
		s, d := int(place&15), int(place>>4)
		src, dst := make([]byte, len(plain)+16), make([]byte, len(plain)+16)
		for _, im := range Implementations() {
			if !im.Supported {
				continue
			}
			c := newTest(t, im.Name, key, o)
			from, to := src[s:s+len(plain)], dst[d:d+len(plain)]
			copy(from, plain)
			c.Encrypt(to, from, iv)
			if !bytes.Equal(to, cipher) {
				t.Fatalf("%s: encrypt differs at byte %d", im.Name, firstDiff(to, cipher))
			}
			c.Decrypt(to, to, iv)
			if !bytes.Equal(to, plain) {
				t.Fatalf("%s: decrypt in place differs at byte %d", im.Name, firstDiff(to, plain))
			}
			c.Decrypt(to, from, iv)
			if !bytes.Equal(to, back) {
				t.Fatalf("%s: decrypt differs at byte %d", im.Name, firstDiff(to, back))
			}
			c.Close()
		}
	})
}

// stretch repeats b, counting up, to n bytes.
func stretch(b []byte, n int) []byte {
	out := make([]byte, n)
	for i := range out {
		out[i] = byte(i / 251)
		if len(b) > 0 {
			out[i] += b[i%len(b)] + byte(i/len(b))
		}
	}
	return out
}
