// The classes of Foundation: strings, arrays, dictionaries, errors, URLs.
#include "runtime.h"

namespace standin {
namespace {

struct String : Instance {
  static constexpr const char* kName = "NSString";
  std::string fields;
};
struct Array : Instance {
  static constexpr const char* kName = "NSArray";
  std::vector<Held> fields;
};
struct Dictionary : Instance {
  static constexpr const char* kName = "NSDictionary";
  std::vector<std::pair<Held, Held>> fields;
};
struct ErrorFields {
  long code = 0;
  std::string text;
  Held user_info;
};
struct Error : Instance {
  static constexpr const char* kName = "NSError";
  ErrorFields fields;
};
struct Url : Instance {
  static constexpr const char* kName = "NSURL";
  std::string fields;
};

}  // namespace

Id make_string(const std::string& text) {
  auto* s = create<String>();
  s->fields = text;
  return id_of(s);
}
const std::string& text_of(Id string) { return as<String>(string).fields; }
Id make_array(const std::vector<Id>& objects) {
  auto* a = create<Array>();
  for (Id object : objects) a->fields.emplace_back(object);
  return id_of(a);
}
Id make_dictionary(Id key, Id value) {
  auto* d = create<Dictionary>();
  d->fields.emplace_back(Held(key), Held(value));
  return id_of(d);
}
Id make_error(long code, const std::string& text, Id user_info) {
  auto* e = create<Error>();
  e->fields = {code, text, Held(user_info)};
  return id_of(e);
}

void add_foundation() {
  for (const char* name : {"NSString", "NSArray", "NSDictionary", "NSError", "NSURL"})
    add_class(name, nullptr);
  method(
      "NSString", "stringWithCString:encoding:",
      +[](Id, Selector, const char* bytes, UInteger) { return autorelease(make_string(bytes)); }, '+');
  method("NSString", "UTF8String", +[](Id self, Selector) { return text_of(self).c_str(); });
  method("NSArray", "count", +[](Id self, Selector) -> UInteger { return as<Array>(self).fields.size(); });
  method(
      "NSArray", "objectAtIndex:", +[](Id self, Selector, UInteger i) -> Id {
        const auto& all = as<Array>(self).fields;
        if (i >= all.size())
          die("index " + std::to_string(i) + " beyond an array of " + std::to_string(all.size()));
        return all[i];
      });
  method(
      "NSDictionary", "objectForKey:", +[](Id self, Selector, Id key) -> Id {
        for (const auto& [k, v] : as<Dictionary>(self).fields)
          if (Id{k} == key) return v;
        return nullptr;
      });
  method("NSError", "code", +[](Id self, Selector) -> Integer { return as<Error>(self).fields.code; });
  method(
      "NSError", "localizedDescription",
      +[](Id self, Selector) { return autorelease(make_string(as<Error>(self).fields.text)); });
  method("NSError", "userInfo", +[](Id self, Selector) -> Id { return as<Error>(self).fields.user_info; });
  method(
      "NSURL", "fileURLWithPath:",
      +[](Id, Selector, Id path) {
        auto* u = create<Url>();
        u->fields = text_of(path);
        return autorelease(id_of(u));
      },
      '+');
}

}  // namespace standin
