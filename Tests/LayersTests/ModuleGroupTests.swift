import Layers
import Tensors
import Testing

/// Modules under names with dots.
@Suite struct ModuleGroupTests {
  @Test func dotsMakeGroupsInTheOrderOfTheParts() {
    func layer(_ value: Float) -> Linear { Linear(weight: Tensor([value], shape: [1, 1])) }
    let group = ModuleGroup([
      ("a.b.c", layer(1)), ("d", layer(2)), ("a.b.e", layer(3)), ("a.f", layer(4)),
    ])
    #expect(
      group.parameters().map(\.path) == ["a.b.c.weight", "a.b.e.weight", "a.f.weight", "d.weight"])
    #expect(group.modules().map(\.path) == ["", "a", "a.b", "a.b.c", "a.b.e", "a.f", "d"])
    #expect(group.module(at: "a.b") is ModuleGroup)
    #expect(group.module(at: "d") is Linear)
  }
}
