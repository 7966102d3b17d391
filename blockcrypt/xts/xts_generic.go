package xts

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"reflect"
)

// generic is the reference: one block after the other through crypto/aes. It
// needs no scratch memory, so nothing escapes and nothing is allocated.
type generic struct {
	data, tweak cipher.Block
}

func expandGeneric(data, tweak []byte) (engine, error) {
	d, err := aes.NewCipher(data)
	if err != nil {
		return nil, err
	}
	t, err := aes.NewCipher(tweak)
	if err != nil {
		return nil, err
	}
	return &generic{data: d, tweak: t}, nil
}

func (g *generic) encrypt(dst, src []byte, sector, n int, iv, step uint64) {
	for ; n > 0; n, dst, src, iv = n-1, dst[sector:], src[sector:], iv+step {
		g.sector(g.data.Encrypt, dst[:sector], src[:sector], iv)
	}
}

func (g *generic) decrypt(dst, src []byte, sector, n int, iv, step uint64) {
	for ; n > 0; n, dst, src, iv = n-1, dst[sector:], src[sector:], iv+step {
		g.sector(g.data.Decrypt, dst[:sector], src[:sector], iv)
	}
}

// sector is IEEE 1619 5.3.2 and 5.4.2: C = E(P xor T) xor T for each block,
// where T is the encrypted sector number times alpha to the power of the
// block's number. The tweak is made in the first block of dst, after the
// first block of src was read: the two may be one.
func (g *generic) sector(crypt func(dst, src []byte), dst, src []byte, iv uint64) {
	next := load(src)
	store(dst, block{lo: iv})
	g.tweak.Encrypt(dst[:BlockSize], dst[:BlockSize])
	t := load(dst)
	for {
		store(dst, next.xor(t))
		crypt(dst[:BlockSize], dst[:BlockSize])
		store(dst, load(dst).xor(t))
		dst, src = dst[BlockSize:], src[BlockSize:]
		if len(src) == 0 {
			return
		}
		next, t = load(src), t.double()
	}
}

// wipe overwrites the round keys where crypto/aes keeps them: behind the
// pointer in the interface.
func (g *generic) wipe() {
	for _, b := range []cipher.Block{g.data, g.tweak} {
		reflect.ValueOf(b).Elem().SetZero()
	}
}

// block is 16 bytes as a polynomial over GF(2): bit n of lo is the
// coefficient of x^n, bit n of hi that of x^(64+n) (IEEE 1619 5.2).
type block struct{ lo, hi uint64 }

func load(b []byte) block {
	return block{binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:16])}
}

func store(dst []byte, b block) {
	binary.LittleEndian.PutUint64(dst, b.lo)
	binary.LittleEndian.PutUint64(dst[8:16], b.hi)
}

func (b block) xor(c block) block { return block{b.lo ^ c.lo, b.hi ^ c.hi} }

// double multiplies by x modulo x^128 + x^7 + x^2 + x + 1, without a branch.
func (b block) double() block {
	carry := -(b.hi >> 63) & 0x87
	return block{b.lo<<1 ^ carry, b.hi<<1 | b.lo>>63}
}
