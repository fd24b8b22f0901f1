package event

// APIKey looks for the api_key of an Envelope without decoding the rest. It
// reads at most the first 64 KiB of body, as much as a browser's beacon may
// carry, and steps over what comes before: a key that stands later is not
// found. The result points into body or is a copy.
func APIKey(body []byte) []byte {
	s := scanner{src: body[:min(len(body), keyLookBytes)], pos: markBytes(body)}
	if s.space() != '{' {
		return nil
	}
	s.pos++
	for s.space() == '"' {
		name, f, ok := s.str()
		if !ok || f != 0 || s.space() != ':' {
			return nil
		}
		s.pos++
		if string(s.text(name)) == "api_key" {
			return s.apiKey()
		}
		if !s.skip() || s.space() != ',' {
			return nil
		}
		s.pos++
	}
	return nil
}

func (s *scanner) apiKey() []byte {
	if s.space() != '"' {
		return nil
	}
	key, f, ok := s.str()
	if !ok || f != 0 || key.end-key.start > maxMetaBytes {
		return nil
	}
	return s.text(key)
}
