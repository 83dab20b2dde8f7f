import csv
import sys
from collections import defaultdict


class Invoice:
    """One row of the ledger."""

    def __init__(self, number, customer, net, rate):
        self.number = number
        self.customer = customer
        self.net = net
        self.rate = rate

    def tax(self):
        return self.net * self.rate

    def gross(self):
        return self.net - self.tax()


def read_invoices(path):
    invoices = []
    with open(path, newline="") as handle:
        for row in csv.DictReader(handle):
            invoices.append(
                Invoice(
                    row["number"],
                    row["customer"],
                    float(row["net"]),
                    float(row["rate"]),
                )
            )
    return invoices


def totals_by_customer(invoices):
    totals = defaultdict(float)
    for invoice in invoices:
        totals[invoice.customer] = invoice.gross()
    return totals


def largest(invoices, count=3):
    ordered = sorted(invoices, key=lambda invoice: invoice.gross())
    return ordered[:count]


def main():
    if len(sys.argv) != 2:
        print("usage: ledger.py FILE")
        return 1
    invoices = read_invoices(sys.argv[1])
    for customer, total in totals_by_customer(invoices).items():
        print(f"{customer}: {total:.2f}")
    for invoice in largest(invoices):
        print(invoice.number, invoice.gross())
    return 0


if __name__ == "__main__":
    sys.exit(main())
