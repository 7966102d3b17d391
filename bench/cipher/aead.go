package cipher

import (
	"bytes"
	"crypto/aes"
	stdcipher "crypto/cipher"
	"fmt"

	"github.com/minio/sio"
)

// sioPackage is the payload of a package of DARE 2.0, the only "sector" that
// minio/sio has.
const sioPackage = 64 << 10

// authenticated lists the ciphers that also detect changes. Their ciphertext
// is longer than the plaintext and lies in a buffer of its own, which the
// working set Memory does not have.
func authenticated(s subject, key []byte) ([]*subject, error) {
	g, err := gcm(s, key)
	if err != nil {
		return nil, err
	}
	if s.row.Sector != sioPackage || s.bits != 256 {
		return []*subject{g}, nil
	}
	d, err := dare(s, key)
	if err != nil {
		return nil, err
	}
	return []*subject{g, d}, nil
}

// gcm seals or opens sector by sector with crypto/cipher's GCM, each sector
// followed by its tag. One nonce for all of them is good for a measurement
// only.
func gcm(s subject, key []byte) (*subject, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := stdcipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	s.row.Cipher, s.row.Impl = fmt.Sprintf("aes-%d-gcm", s.bits), "go"
	sector, nonce := s.row.Sector, make([]byte, aead.NonceSize())
	long := sector + aead.Overhead()
	sealed := make([]byte, cacheBytes/sector*long)
	seal := func(_, src []byte) error {
		for i := 0; i < len(src)/sector; i++ {
			aead.Seal(sealed[i*long:i*long], nonce, src[i*sector:(i+1)*sector], nil)
		}
		return nil
	}
	open := func(dst, _ []byte) error {
		for i := 0; i < len(dst)/sector; i++ {
			if _, err := aead.Open(dst[i*sector:i*sector], nonce, sealed[i*long:(i+1)*long], nil); err != nil {
				return err
			}
		}
		return nil
	}
	s.crypt = seal
	if s.row.Op == Decrypt {
		s.crypt = open
		return &s, seal(nil, make([]byte, cacheBytes))
	}
	return &s, nil
}

// dare encrypts or decrypts the whole buffer as one DARE stream.
func dare(s subject, key []byte) (*subject, error) {
	s.row.Cipher, s.row.Impl = "dare-aes-256-gcm", "minio/sio"
	config := sio.Config{Key: key, MinVersion: sio.Version20, CipherSuites: []byte{sio.AES_256_GCM}}
	var sealed bytes.Buffer
	seal := func(_, src []byte) error {
		sealed.Reset()
		_, err := sio.Encrypt(&sealed, bytes.NewReader(src), config)
		return err
	}
	s.crypt = seal
	if s.row.Op == Decrypt {
		s.crypt = func(dst, _ []byte) error {
			_, err := sio.DecryptBuffer(dst[:0], sealed.Bytes(), config)
			return err
		}
		return &s, seal(nil, make([]byte, cacheBytes))
	}
	return &s, nil
}
