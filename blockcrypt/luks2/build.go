package luks2

import (
	"encoding/base64"
	"strconv"
)

// build is the inverse of understand, without the seal's own value.
func (m *metadata) build() object {
	slots := object{}
	for _, k := range m.slots {
		slots[k.id] = buildKeyslot(k)
	}
	return object{
		"config":   object{"json_size": strconv.Itoa(jsonSize), "keyslots_size": strconv.Itoa(keyslotsSize)},
		"keyslots": slots,
		"segments": object{"0": object{
			"type": "crypt", "encryption": cipherName, "sector_size": int64(SectorSize),
			"offset": strconv.FormatUint(m.offset, 10), "size": "dynamic", "iv_tweak": "0",
		}},
		"digests": object{"0": object{
			"type": "pbkdf2", "hash": hashName, "iterations": int64(m.digest.iterations),
			"salt": encode64(m.digest.salt), "digest": encode64(m.digest.sum),
			"keyslots": list(m.slotIDs()), "segments": list([]string{"0"}),
		}},
		"tokens": object{"0": buildToken(m.token)},
	}
}

func buildKeyslot(k keyslot) object {
	return object{
		"type": "luks2", "key_size": int64(KeySize),
		"af": object{"type": "luks1", "stripes": int64(stripes), "hash": hashName},
		"area": object{
			"type": "raw", "encryption": cipherName, "key_size": int64(KeySize),
			"offset": strconv.FormatUint(k.area, 10), "size": strconv.Itoa(areaSize),
		},
		"kdf": object{
			"type": "pbkdf2", "hash": hashName, "iterations": int64(k.iterations), "salt": encode64(k.salt),
		},
	}
}

func buildToken(t *token) object {
	keys := make([]any, len(t.keys))
	for i, k := range t.keys {
		keys[i] = object{"epoch": strconv.FormatUint(k.Epoch, 10), "store": k.Store, "kmip_key_id": k.KMIPKeyID}
	}
	return object{
		"type": tokenType, "version": int64(tokenVersion), "keyslots": list(t.slots), "keys": keys,
		"size": strconv.FormatUint(t.size, 10), "generation": strconv.FormatUint(t.generation, 10),
		"hmac": encode64(t.mac),
	}
}

func list(names []string) []any {
	l := make([]any, len(names))
	for i, n := range names {
		l[i] = n
	}
	return l
}

func encode64(b []byte) string { return base64.StdEncoding.EncodeToString(b) }
