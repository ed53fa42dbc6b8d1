from services.adapter.main import cli

cli()
