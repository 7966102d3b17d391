package luks2

import (
	"crypto/hkdf"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"

	"sealbay/blockcrypt/internal/locked"
	"sealbay/blockcrypt/xts"
)

const slotInfo = "sealbay/luks2/slot/v1"

// SlotSecret derives the secret of one drive's keyslot from a key-encryption
// key of KEKSize bytes (4.1). It opens this drive and no other; cryptsetup
// takes it as a key file. The caller wipes it.
func SlotSecret(kek []byte, uuid string) ([]byte, error) {
	if len(kek) != KEKSize {
		return nil, keySizeError(kek)
	}
	return hkdf.Key(sha256.New, kek, []byte(uuid), slotInfo, SecretSize)
}

func keySizeError(kek []byte) error {
	return fmt.Errorf("%w: key-encryption key has %d bytes, want %d", ErrKeySize, len(kek), KEKSize)
}

// areaCipher is the cipher of a keyslot's material: AES-256-XTS over sectors
// of 512 bytes counted from 0 (4.2).
func (k *keyslot) areaCipher(secret []byte) (*xts.Cipher, error) {
	key, err := pbkdf2.Key(sha256.New, string(secret), k.salt, k.iterations, KeySize)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	return xts.New(key, xts.Options{SectorSize: 512, IVStep: 1})
}

// store splits key, encrypts it under secret and writes it to the keyslot's
// area. The caller flushes.
func (k *keyslot) store(dev Device, secret, key []byte) error {
	c, err := k.areaCipher(secret)
	if err != nil {
		return err
	}
	defer c.Close()
	mem, err := locked.New(areaSize)
	if err != nil {
		return err
	}
	defer mem.Close()
	material := mem.Bytes()[:materialSize]
	afSplit(material, key)
	c.Encrypt(material, material, 0)
	_, err = dev.WriteAt(mem.Bytes(), int64(k.area))
	return err
}

// load reads the keyslot and puts what secret makes of it into key, right or
// wrong: only the digest tells.
func (k *keyslot) load(dev Device, secret, key []byte) error {
	c, err := k.areaCipher(secret)
	if err != nil {
		return err
	}
	defer c.Close()
	mem, err := locked.New(areaSize)
	if err != nil {
		return err
	}
	defer mem.Close()
	if _, err := dev.ReadAt(mem.Bytes(), int64(k.area)); err != nil {
		return err
	}
	material := mem.Bytes()[:materialSize]
	c.Decrypt(material, material, 0)
	afMerge(key, material)
	return nil
}

// wipe overwrites the keyslot's area with zeros. The caller flushes.
func (k *keyslot) wipe(dev Device) error {
	_, err := dev.WriteAt(make([]byte, areaSize), int64(k.area))
	return err
}

// dead reports whether the area was wiped, wholly or in part: a sector of
// zeros never comes out of the cipher, and without it the rest is noise.
func (k *keyslot) dead(dev Device) (bool, error) {
	b := make([]byte, areaSize)
	if _, err := dev.ReadAt(b, int64(k.area)); err != nil {
		return false, err
	}
	for off := 0; off < materialSize; off += 512 {
		if isZero(b[off : off+512]) {
			return true, nil
		}
	}
	return false, nil
}

func isZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

func newDigest(key []byte) (digest, error) {
	d := digest{iterations: iterations, salt: make([]byte, saltSize)}
	rand.Read(d.salt)
	var err error
	d.sum, err = pbkdf2.Key(sha256.New, string(key), d.salt, d.iterations, digestSize)
	return d, err
}

// matches reports whether key is the volume key.
func (d *digest) matches(key []byte) (bool, error) {
	sum, err := pbkdf2.Key(sha256.New, string(key), d.salt, d.iterations, digestSize)
	if err != nil {
		return false, err
	}
	return subtle.ConstantTimeCompare(sum, d.sum) == 1, nil
}
