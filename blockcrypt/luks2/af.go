package luks2

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
)

// afSplit spreads key over stripes of its size in material, so that every bit
// of every stripe is needed to get it back: the anti-forensic splitter of
// LUKS1, hash SHA-256 (4.3).
func afSplit(material, key []byte) {
	var state [KeySize]byte
	last := len(material) - len(key)
	rand.Read(material[:last])
	for off := 0; off < last; off += len(key) {
		afMix(&state, material[off:off+len(key)])
	}
	subtle.XORBytes(material[last:], state[:], key)
	clear(state[:])
}

// afMerge is the inverse of afSplit.
func afMerge(key, material []byte) {
	var state [KeySize]byte
	last := len(material) - len(key)
	for off := 0; off < last; off += len(key) {
		afMix(&state, material[off:off+len(key)])
	}
	subtle.XORBytes(key, state[:], material[last:])
	clear(state[:])
}

// afMix adds one stripe to state and diffuses it: each block of 32 bytes
// becomes SHA-256(its number, big-endian 32 bits || block).
func afMix(state *[KeySize]byte, stripe []byte) {
	subtle.XORBytes(state[:], state[:], stripe)
	var in [4 + sha256.Size]byte
	for i := range KeySize / sha256.Size {
		block := state[i*sha256.Size:][:sha256.Size]
		binary.BigEndian.PutUint32(in[:], uint32(i))
		copy(in[4:], block)
		sum := sha256.Sum256(in[:])
		copy(block, sum[:])
	}
	clear(in[:])
}
