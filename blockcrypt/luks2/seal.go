package luks2

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"maps"
)

const sealInfo = "sealbay/luks2/header/v1"

// seal returns the HMAC over all that a header copy says but its place, its
// checksum and the HMAC itself (5). tree must hold exactly one token of ours.
func seal(key []byte, f *fields, tree object) ([]byte, error) {
	macKey, err := hkdf.Key(sha256.New, key, []byte(f.uuid), sealInfo, sha256.Size)
	if err != nil {
		return nil, err
	}
	defer clear(macKey)
	mac := hmac.New(sha256.New, macKey)
	mac.Write(canonical(nil, object{
		"json": unsealed(tree), "uuid": f.uuid, "label": f.label, "subsystem": f.subsystem,
	}))
	return mac.Sum(nil), nil
}

// unsealed returns tree without the tokens' "hmac".
func unsealed(tree object) object {
	tokens, _ := tree["tokens"].(object)
	bare := object{}
	for id, v := range tokens {
		t := maps.Clone(v.(object))
		delete(t, "hmac")
		bare[id] = t
	}
	out := maps.Clone(tree)
	out["tokens"] = bare
	return out
}

// verifySeal checks the HMAC of h, and that nobody wrote the header since
// under another sequence number.
func (h *Header) verifySeal(key []byte) error {
	t := h.meta.token
	if t.generation != h.fields.seqID {
		return fmt.Errorf("%w: sequence number %d, sealed at %d", ErrEdited, h.fields.seqID, t.generation)
	}
	mac, err := seal(key, h.fields, h.tree)
	if err != nil {
		return err
	}
	if !hmac.Equal(mac, t.mac) {
		return fmt.Errorf("%w: its seal does not match", ErrEdited)
	}
	return nil
}
