package event

// skip steps over one value of any depth. It looks at nothing but syntax and
// uses one byte of memory per level.
func (s *scanner) skip() bool {
	s.open = s.open[:0]
	for {
		opened, ok := s.skipStart()
		if !ok {
			return false
		}
		if opened {
			continue
		}
		if more, ok := s.skipEnds(); !ok || !more {
			return ok
		}
	}
}

// skipStart steps over a scalar, an empty array or object, or the opening of
// one (opened) up to where its first value starts.
func (s *scanner) skipStart() (opened, ok bool) {
	switch c := s.space(); c {
	case '{':
		s.pos++
		if s.space() == '}' {
			s.pos++
			return false, true
		}
		s.open = append(s.open, '{')
		return true, s.skipKey()
	case '[':
		s.pos++
		if s.space() == ']' {
			s.pos++
			return false, true
		}
		s.open = append(s.open, '[')
		return true, true
	case '"':
		return false, s.skipString()
	case 't':
		return false, s.literal("true")
	case 'f':
		return false, s.literal("false")
	case 'n':
		return false, s.literal("null")
	default:
		_, ok := s.number()
		return false, ok
	}
}

// skipEnds closes what ends after a value. more says that another value
// follows, inside a bracket that is still open.
func (s *scanner) skipEnds() (more, ok bool) {
	for len(s.open) > 0 {
		object := s.open[len(s.open)-1] == '{'
		switch c := s.space(); {
		case c == ',' && object:
			s.pos++
			return true, s.skipKey()
		case c == ',':
			s.pos++
			return true, true
		case c == '}' && object, c == ']' && !object:
			s.pos++
			s.open = s.open[:len(s.open)-1]
		default:
			return false, false
		}
	}
	return false, true
}

// skipKey steps over a member's name and colon.
func (s *scanner) skipKey() bool {
	if s.space() != '"' || !s.skipString() || s.space() != ':' {
		return false
	}
	s.pos++
	return true
}

// skipString steps over a string without decoding it.
func (s *scanner) skipString() bool {
	s.pos++
	for {
		s.pos = plain(s.src, s.pos)
		if s.pos >= len(s.src) {
			return false
		}
		switch c := s.src[s.pos]; {
		case c == '"':
			s.pos++
			return true
		case c < ' ':
			return false
		case c != '\\':
			s.pos++
		case s.pos+1 >= len(s.src):
			return false
		case s.src[s.pos+1] == 'u':
			if _, ok := hex4(s.src[s.pos:]); !ok {
				return false
			}
			s.pos += 6
		default:
			switch s.src[s.pos+1] {
			case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
				s.pos += 2
			default:
				return false
			}
		}
	}
}
