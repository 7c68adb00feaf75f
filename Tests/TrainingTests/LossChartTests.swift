import Testing
import Training

@Suite struct LossChartTests {
  @Test func `a falling line in ASCII`() {
    let chart = LossChart(width: 4, height: 4, style: .ascii)
    let text = chart.text(of: [(1, 4.0), (2, 3.0), (3, 2.0), (4, 1.0)])
    #expect(
      text == """
        4.0000 |*
        3.0000 | *
        2.0000 |  *
        1.0000 |   *
               +----
                1  4
        """)
  }

  @Test func `columns are filled with eighths of blocks`() {
    let chart = LossChart(width: 3, height: 2)
    #expect(
      chart.text(of: [(0, 1.0), (5, 0.5), (10, 0.0)]) == """
        1.0000 ┤█▁
        0.0000 ┤██▁
               └───
                0 10
        """)
  }

  @Test func `a column shows the mean of its losses, whatever their order`() {
    let chart = LossChart(width: 2, height: 3, style: .ascii)
    let points = [(1, 3.0), (2, 5.0), (99, 1.0), (100, 3.0)]
    let text = chart.text(of: points)
    #expect(text == chart.text(of: points.reversed()))
    #expect(text.hasPrefix("4.0000 |*\n3.0000 |\n2.0000 | *\n"))
  }

  @Test func `gaps repeat the value before`() {
    let chart = LossChart(width: 5, height: 2, style: .ascii)
    #expect(chart.text(of: [(0, 2.0), (4, 1.0)]).hasPrefix("2.0000 |****\n1.0000 |    *\n"))
  }

  @Test func `odd curves do not trap`() {
    let chart = LossChart(width: 3, height: 2, style: .ascii)
    #expect(chart.text(of: []).isEmpty)
    #expect(chart.text(of: [(1, .nan), (2, .infinity)]).isEmpty)
    #expect(chart.text(of: [(7, 1.5)]).split(separator: "\n").count == 4)
    #expect(chart.text(of: [(1, 2), (9, 2)]).contains("***"))
    #expect(chart.text(of: [(1, -1e308), (9, 1e308)]).contains("1.000e+308"))
    #expect(chart.text(of: [(1, 1.7e308), (1, 1.7e308), (9, 0)]).contains("1.700e+308"))
    #expect(chart.text(of: [(1, 2), (2, .nan), (3, 1)]) == chart.text(of: [(1, 2), (3, 1)]))
  }
}
