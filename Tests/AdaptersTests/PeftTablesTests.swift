import Adapters
import Foundation
import JSONValues
import TestSupport
import Testing

/// What PEFT 0.21.2 knows by heart is known here (scripts/goldens/adapter_tables.py).
@Suite struct PeftTablesTests {
  private static let tables: JSON = {
    (try? JSON.read(path: testDirectory() + "/Fixtures/peft-tables.json")) ?? .null
  }()

  private static let types = (tables["methods"]?.objectValue ?? JSONObject()).keys
  /// Fields that PEFT cannot do without, so that it has no default for them; and what it fills in.
  private static let withoutDefault: Set = [
    "total_step", "cpt_token_ids", "adapters", "hidden_size", "inference_mode", "peft_version",
  ]

  @Test func everyMethodOfPeftIsHere() {
    #expect(Self.types.count == 45)
    #expect(AdapterMethods.types == Self.types.sorted())
  }

  @Test(arguments: AdapterMethods.types) func fieldsAndDefaults(_ type: String) throws {
    let method = try #require(AdapterMethods.named(type))
    let own = try #require(method.init().json.objectValue)
    let expected = try #require(Self.tables["methods"]?[type]?["fields"]?.objectValue)
    #expect(Set(own.keys) == Set(expected.keys))
    for (key, value) in expected where !Self.withoutDefault.contains(key) {
      #expect(own[key] == value, "\(key)")
    }
  }

  @Test(arguments: AdapterMethods.types) func defaultTargets(_ type: String) throws {
    guard let method = AdapterMethods.named(type) as? any LayerConfiguration.Type else { return }
    let table = Self.tables["methods"]?[type]?["targets"]?.objectValue ?? JSONObject()
    let all = Set(
      Self.types.flatMap { Self.tables["methods"]?[$0]?["targets"]?.objectValue?.keys ?? [] })
    for modelType in all.union(["unheard-of"]) {
      let found = method.defaultTargets(modelType: modelType)
      switch table[modelType] {
      case nil: #expect(found == nil, "\(modelType)")
      case .string(let pattern): #expect(found == .pattern(pattern), "\(modelType)")
      case let names?:
        guard case .names(let own)? = found else {
          Issue.record("\(modelType): \(String(describing: found))")
          continue
        }
        #expect(Set(own) == Set(names.arrayValue?.compactMap(\.stringValue) ?? []), "\(modelType)")
      }
    }
  }
}
