package cipher

import (
	"crypto/aes"
	"fmt"
	"math/rand/v2"

	xxts "golang.org/x/crypto/xts"

	"sealbay/blockcrypt/xts"
)

// subject is one thing to measure. Its row says which.
type subject struct {
	row   Row
	bits  int                         // of the AES key, 0 for a yardstick
	width int                         // of the AES loop that bounds it, in bytes
	slow  bool                        // below 1 GB/s: gets smaller windows
	crypt func(dst, src []byte) error // whole buffer
	close func()
}

// subjects lists what the plan asks for: first the yardsticks.
func subjects(p Plan) ([]*subject, error) {
	keys := rand.NewChaCha8([32]byte{byte(p.Seed), 'k'})
	var all []*subject
	for _, set := range p.Sets {
		if set != Single {
			all = append(all, memmove(set))
		}
	}
	for _, bits := range p.KeyBits {
		key := make([]byte, bits/4)
		_, _ = keys.Read(key) // never fails (math/rand/v2)
		for _, sector := range p.Sectors {
			for _, op := range p.Ops {
				more, err := withKey(p, key, op, sector)
				if err != nil {
					return nil, err
				}
				all = append(all, more...)
			}
		}
	}
	return all, nil
}

// withKey lists the subjects of one key, direction and sector size, in every
// working set.
func withKey(p Plan, key []byte, op Op, sector int) (all []*subject, err error) {
	for _, set := range p.Sets {
		base := subject{bits: len(key) * 4, row: Row{Op: op, Sector: sector, Set: set}}
		for _, inPlace := range []bool{false, true} {
			base.row.InPlace = inPlace
			for _, impl := range p.Impls {
				s, err := ours(base, impl, key)
				if err != nil {
					return nil, err
				}
				all = append(all, s)
			}
			s, err := xcrypto(base, key)
			if err != nil {
				return nil, err
			}
			all = append(all, s)
		}
		if set == Cache {
			base.row.InPlace = false
			more, err := authenticated(base, key[:len(key)/2])
			if err != nil {
				return nil, err
			}
			all = append(all, more...)
		}
	}
	return all, nil
}

func memmove(set Set) *subject {
	return &subject{
		row:   Row{Cipher: "memmove", Impl: "go", Op: Copy, Set: set},
		crypt: func(dst, src []byte) error { copy(dst, src); return nil },
	}
}

func ours(s subject, impl string, key []byte) (*subject, error) {
	c, err := xts.NewImpl(impl, key, xts.Options{SectorSize: s.row.Sector})
	if err != nil {
		return nil, err
	}
	s.row.Cipher, s.row.Impl = fmt.Sprintf("aes-%d-xts", s.bits), impl
	s.width, s.slow, s.close = boundWidths[impl], impl == "generic", c.Close
	crypt := c.Encrypt
	if s.row.Op == Decrypt {
		crypt = c.Decrypt
	}
	s.crypt = func(dst, src []byte) error { crypt(dst, src, 0); return nil }
	if s.row.Set == Single {
		s.crypt = bySector(crypt, s.row.Sector)
	}
	return &s, nil
}

// bySector calls crypt for each sector of a buffer.
func bySector(crypt func(dst, src []byte, iv uint64), sector int) func(dst, src []byte) error {
	return func(dst, src []byte) error {
		for i := 0; i < len(src); i += sector {
			crypt(dst[i:i+sector], src[i:i+sector], uint64(i/512))
		}
		return nil
	}
}

const xcryptoImpl = "x/crypto"

func xcrypto(s subject, key []byte) (*subject, error) {
	c, err := xxts.NewCipher(aes.NewCipher, key)
	if err != nil {
		return nil, err
	}
	s.row.Cipher, s.row.Impl, s.slow = fmt.Sprintf("aes-%d-xts", s.bits), xcryptoImpl, true
	crypt := c.Encrypt
	if s.row.Op == Decrypt {
		crypt = c.Decrypt
	}
	s.crypt = bySector(crypt, s.row.Sector)
	return &s, nil
}
